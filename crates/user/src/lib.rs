//! user.rpc: accounts, logging in, profiles.
