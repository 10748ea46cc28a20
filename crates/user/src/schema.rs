//! The tables of user.rpc.

diesel::table! {
    users (id) {
        id -> BigInt,
        name -> Text,
        gender -> SmallInt,
        mobile -> Text,
        password -> Text,
        role -> Text,
    }
}

diesel::table! {
    first_user (only_one) {
        only_one -> Integer,
        user_id -> BigInt,
    }
}
