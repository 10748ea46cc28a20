//! What there is to buy.

use anyhow::bail;
use proto::product::v1::{ListResponse, Product};

/// The products of a list that are on sale and of which there are so many; an error that says how to get some if there are
/// none.
pub(crate) fn buyable(list: ListResponse, units: i64) -> anyhow::Result<Vec<Product>> {
    let products: Vec<_> =
        list.products.into_iter().filter(|product| product.status == 0 && product.stock >= units).collect();
    if products.is_empty() {
        bail!(
            "none of the newest products is on sale and in stock: an admin adds one with POST /api/product/create, such \
             as {{\"name\": \"Tea\", \"stock\": 100, \"amount\": 990}}"
        );
    }
    Ok(products)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_on_sale_and_in_stock_can_be_bought() {
        let product = |id, status, stock| Product { id, status, stock, ..Default::default() };
        let list = |products| ListResponse { products, ..Default::default() };
        let found = buyable(list(vec![product(1, 1, 5), product(2, 0, 1), product(3, 0, 5)]), 2).unwrap();
        assert_eq!(found.iter().map(|product| product.id).collect::<Vec<_>>(), [3]);
        let error = buyable(list(vec![product(1, 1, 5)]), 1).unwrap_err().to_string();
        assert!(error.contains("POST /api/product/create"), "{error}");
    }
}
