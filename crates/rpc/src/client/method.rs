//! What the descriptors say of a method: above all, whether it may be called again.

use std::collections::HashMap;
use std::sync::LazyLock;

use prost::Message as _;
use prost_types::FileDescriptorSet;
use prost_types::method_options::IdempotencyLevel;

/// What is known of a method of mall's APIs.
#[derive(Debug)]
pub(super) struct Method {
    /// Where it stands among all of them, from 0.
    pub(super) index: usize,
    /// Its full name, such as `mall.user.v1.UserService/UserInfo`.
    pub(super) name: String,
    /// To be called twice has no other effect than to be called once.
    pub(super) is_idempotent: bool,
}

/// The methods whose requests are one message, by their paths. Only this is kept of the descriptors, which take a hundred
/// times as much memory.
static UNARY: LazyLock<HashMap<String, Method>> = LazyLock::new(|| {
    let descriptors = FileDescriptorSet::decode(proto::FILE_DESCRIPTOR_SET).unwrap_or_default();
    let mut methods = HashMap::new();
    for file in &descriptors.file {
        for service in &file.service {
            for method in service.method.iter().filter(|method| !method.client_streaming()) {
                let name = format!("{}.{}/{}", file.package(), service.name(), method.name());
                let level = method.options.as_ref().map(|options| options.idempotency_level());
                let is_idempotent =
                    matches!(level, Some(IdempotencyLevel::NoSideEffects | IdempotencyLevel::Idempotent));
                methods.insert(format!("/{name}"), Method { index: methods.len(), name, is_idempotent });
            }
        }
    }
    methods
});

impl Method {
    /// The method at a path; none that is not of our APIs, or takes a stream.
    pub(super) fn at(path: &str) -> Option<&'static Self> {
        UNARY.get(path)
    }

    /// How many there are.
    pub(super) fn count() -> usize {
        UNARY.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_descriptors_say_what_may_be_repeated() {
        let is_idempotent = |path: &str| Method::at(path).map(|method| method.is_idempotent);
        assert_eq!(is_idempotent("/mall.user.v1.UserService/UserInfo"), Some(true));
        assert_eq!(is_idempotent("/mall.product.v1.ProductService/Reserve"), Some(true));
        assert_eq!(is_idempotent("/mall.user.v1.UserService/Register"), Some(false));
        assert_eq!(is_idempotent("/mall.order.v1.OrderService/Create"), Some(false));
        assert_eq!(is_idempotent("/grpc.health.v1.Health/Check"), None);
    }
}
