//! The table of order.rpc.

diesel::table! {
    orders (id) {
        id -> BigInt,
        uid -> BigInt,
        pid -> BigInt,
        quantity -> BigInt,
        unit_price -> BigInt,
        amount -> BigInt,
        status -> SmallInt,
        payment_id -> Nullable<BigInt>,
        hidden -> Bool,
        idempotency_key -> Nullable<Text>,
        traceparent -> Nullable<Text>,
        created_at -> BigInt,
        due_at -> Nullable<BigInt>,
        since -> Nullable<BigInt>,
    }
}
