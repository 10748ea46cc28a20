//! The tables of product.rpc.

diesel::table! {
    products (id) {
        id -> BigInt,
        name -> Text,
        name_lower -> Text,
        description -> Text,
        stock -> BigInt,
        amount -> BigInt,
        status -> SmallInt,
    }
}

diesel::table! {
    reservations (order_id) {
        order_id -> BigInt,
        product_id -> Nullable<BigInt>,
        quantity -> BigInt,
        released -> Bool,
    }
}
