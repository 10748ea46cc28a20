//! The REST APIs in front of the gRPC services.
