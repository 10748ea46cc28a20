//! How a gRPC service of mall is served and called.
