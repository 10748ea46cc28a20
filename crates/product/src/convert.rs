//! Between the messages of the API and the domain.

use domain::{Page, rules};
use proto::product::v1::{self, CreateRequest, ListRequest, ReserveRequest, UpdateRequest};
use rpc::{Checks, Invalid, Rule};

use crate::model::{
    Change, Filter, NewProduct, Product, Status, StockChange, description, name, searched, stock, stock_change,
};

impl From<Product> for v1::Product {
    fn from(Product { id, name, description, stock, amount, status }: Product) -> Self {
        Self { id, name, desc: description, stock, amount, status: status as i32 }
    }
}

impl TryFrom<CreateRequest> for NewProduct {
    type Error = Invalid;

    fn try_from(
        CreateRequest { name: text, desc, stock: units, amount, status }: CreateRequest,
    ) -> Result<Self, Invalid> {
        let mut checks = Checks::default();
        let name = checks.field("name", name(text));
        let description = checks.field("desc", description(desc));
        let stock = checks.field("stock", stock(units));
        let amount = checks.field("amount", rules::count(amount));
        let status = checks.field("status", Status::parse(status));
        checks.done(|| {
            Some(Self { name: name?, description: description?, stock: stock?, amount: amount?, status: status? })
        })
    }
}

/// The id of a product and what of it is to change.
pub(crate) fn change(request: UpdateRequest) -> Result<(i64, Change), Invalid> {
    let mut checks = Checks::default();
    let id = checks.field("id", rules::positive(request.id));
    let request = checks.field("updateMask", masked(request)).unwrap_or_default();
    let UpdateRequest { id: _, name: text, desc, stock: set, amount, status, stock_change: by, update_mask: _ } =
        request;
    let change = Change {
        name: text.and_then(|text| checks.field("name", name(text))),
        description: desc.and_then(|desc| checks.field("desc", description(desc))),
        stock: match (set, by) {
            (Some(_), Some(_)) => checks.field("stockChange", Err("cannot be given together with stock")),
            (Some(units), None) => checks.field("stock", stock(units)).map(StockChange::To),
            (None, Some(units)) => checks.field("stockChange", stock_change(units)).map(StockChange::By),
            (None, None) => None,
        },
        amount: amount.and_then(|amount| checks.field("amount", rules::count(amount))),
        status: status.and_then(|status| checks.field("status", Status::parse(status))),
    };
    checks.done(|| Some((id?, change)))
}

/// The request as its mask has it: what it names and what is absent is zero, what it does not name is absent.
fn masked(mut request: UpdateRequest) -> Result<UpdateRequest, Rule> {
    let Some(mask) = request.update_mask.take() else { return Ok(request) };
    let mut all = UpdateRequest::default();
    for path in &mask.paths {
        match path.as_str() {
            "name" => all.name = Some(request.name.clone().unwrap_or_default()),
            "desc" => all.desc = Some(request.desc.clone().unwrap_or_default()),
            "stock" => all.stock = Some(request.stock.unwrap_or_default()),
            "amount" => all.amount = Some(request.amount.unwrap_or_default()),
            "status" => all.status = Some(request.status.unwrap_or_default()),
            "stock_change" => all.stock_change = Some(request.stock_change.unwrap_or_default()),
            _ => {
                return Err("names a field that cannot be changed: name, desc, stock, amount, status, stockChange can");
            }
        }
    }
    Ok(all)
}

/// Which products, and which page of them.
pub(crate) fn list(request: ListRequest) -> Result<(Filter, Page), Invalid> {
    let ListRequest { status, text, page_size, page_token } = request;
    let mut checks = Checks::default();
    let status = status.and_then(|status| checks.field("status", Status::parse(status)));
    let text = checks.field("text", searched(text)).unwrap_or_default();
    let filter = Filter { status, text };
    let page =
        Page::parse(&mut checks, page_size, &page_token, &format!("{:?} {}", status.map(|it| it as i16), filter.text));
    checks.done(|| Some((filter, page?)))
}

/// The order, the product and the quantity of a reservation.
pub(crate) fn reservation(request: ReserveRequest) -> Result<(i64, i64, i64), Invalid> {
    let ReserveRequest { order_id, product_id, quantity } = request;
    let mut checks = Checks::default();
    let order = checks.field("orderId", rules::positive(order_id));
    let product = checks.field("productId", rules::positive(product_id));
    let quantity = checks.field("quantity", rules::positive(quantity));
    checks.done(|| Some((order?, product?, quantity?)))
}

/// The one id that a request has.
pub(crate) fn id(field: &str, id: i64) -> Result<i64, Invalid> {
    rules::positive(id).map_err(|rule| Invalid::field(field, rule))
}
