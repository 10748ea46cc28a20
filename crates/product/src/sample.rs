//! A few products for a shop that is only tried out.

use crate::error::Error;
use crate::model::{NewProduct, Status};
use crate::store::Store;

/// Name, description, price in cents.
const PRODUCTS: [(&str, &str, i64); 5] = [
    ("Apple", "Crisp and sweet, from the valley", 50),
    ("Bread", "Sourdough, baked this morning", 420),
    ("Coffee", "One kilogram of beans, medium roast", 1_890),
    ("Honey", "Half a kilogram, from lime trees", 750),
    ("Tea", "A hundred grams of Darjeeling", 990),
];

/// So many that load tests do not run out of them.
const STOCK: i64 = 1_000_000;

/// Offers the sample products where there are none.
pub(crate) async fn offer(store: &Store) -> Result<(), db::Error> {
    let products = PRODUCTS.map(|(name, description, amount)| NewProduct {
        name: name.to_owned(),
        description: description.to_owned(),
        stock: STOCK,
        amount,
        status: Status::OnSale,
    });
    match store.create_first(&products).await {
        Err(Error::Db(error)) => Err(error),
        _ => Ok(()),
    }
}
