//! The tables of pay.rpc.

diesel::table! {
    payments (id) {
        id -> BigInt,
        uid -> BigInt,
        oid -> BigInt,
        amount -> BigInt,
        source -> Integer,
        status -> SmallInt,
        created_at -> BigInt,
    }
}

diesel::table! {
    outbox (payment_id) {
        payment_id -> BigInt,
        traceparent -> Nullable<Text>,
        due_at -> BigInt,
        since -> Nullable<BigInt>,
    }
}

diesel::joinable!(outbox -> payments (payment_id));
diesel::allow_tables_to_appear_in_same_query!(payments, outbox);
