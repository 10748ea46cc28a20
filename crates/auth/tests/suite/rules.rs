//! Who may call what, read from descriptors.

use std::path::Path;

use auth::{Caller, Error, Role, Rules};
use prost_reflect::DescriptorPool;

pub(crate) const SHOP: &str = "test.v1.Shop";

/// Descriptors of a service with these methods, each with the text of its options.
pub(crate) fn shop(methods: &[(&str, &str)]) -> DescriptorPool {
    let dir = tempfile::tempdir().unwrap();
    let methods: String =
        methods.iter().map(|(name, option)| format!("rpc {name}(M) returns (M) {{ {option} }}")).collect();
    let text = format!(
        "syntax = \"proto3\"; package test.v1; import \"mall/access/v1/access.proto\"; message M {{}} service Shop {{ {methods} }}"
    );
    std::fs::write(dir.path().join("shop.proto"), text).unwrap();
    let ours = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("../../proto");
    let mut compiler = protox::Compiler::new([dir.path(), &ours]).unwrap();
    compiler.include_imports(true).open_file("shop.proto").unwrap();
    DescriptorPool::decode(compiler.encode_file_descriptor_set().as_slice()).unwrap()
}

pub(crate) fn four_kinds() -> Rules {
    let pool = shop(&[
        ("Public", "option (mall.access.v1.allow) = { public: true };"),
        ("User", "option (mall.access.v1.allow) = { user: true };"),
        ("Admin", "option (mall.access.v1.allow) = { admin: true };"),
        ("Service", "option (mall.access.v1.allow) = { services: \"order.rpc\" };"),
        ("Mixed", "option (mall.access.v1.allow) = { admin: true services: [\"order.rpc\", \"pay.rpc\"] };"),
    ]);
    Rules::from_pool(&pool, &[SHOP]).unwrap()
}

#[test]
fn every_caller_is_admitted_where_it_is_named_and_nowhere_else() {
    let rules = four_kinds();
    let callers = [
        Caller::Anonymous,
        Caller::User { id: 1, role: Role::User },
        Caller::User { id: 1, role: Role::Admin },
        Caller::Service("order.rpc".to_owned()),
        Caller::Service("product.rpc".to_owned()),
    ];
    for (method, expected) in [
        ("Public", [true, true, true, true, true]),
        ("User", [false, true, true, false, false]),
        ("Admin", [false, false, true, false, false]),
        ("Service", [false, false, false, true, false]),
        ("Mixed", [false, false, true, true, false]),
    ] {
        let access = rules.get(&format!("/{SHOP}/{method}")).unwrap();
        assert_eq!(callers.each_ref().map(|caller| caller.is_admitted(access)), expected, "{method}");
    }
    assert!(rules.get("/test.v1.Shop/Else").is_none());
}

#[test]
fn a_method_that_says_nothing_stops_the_service() {
    let public = ("Good", "option (mall.access.v1.allow) = { public: true };");
    let error = Rules::from_pool(&shop(&[public, ("Bad", "")]), &[SHOP]).unwrap_err();
    assert!(matches!(&error, Error::NoRule(method) if method == "test.v1.Shop.Bad"), "{error}");
    assert!(error.to_string().contains("option (mall.access.v1.allow) = { .. };"), "{error}");

    let nobody = ("Nobody", "option (mall.access.v1.allow) = { user: false };");
    let error = Rules::from_pool(&shop(&[public, nobody]), &[SHOP]).unwrap_err();
    assert!(matches!(&error, Error::AdmitsNobody(method) if method == "test.v1.Shop.Nobody"), "{error}");

    let error = Rules::from_pool(&shop(&[public]), &["test.v1.Else"]).unwrap_err();
    assert!(matches!(&error, Error::NoService(name) if name == "test.v1.Else"), "{error}");
    assert!(matches!(Rules::from_pool(&DescriptorPool::new(), &[SHOP]), Err(Error::NoExtension)));
}

#[test]
fn the_user_service_has_rules() {
    let rules = Rules::of(&["mall.user.v1.UserService"]).unwrap();
    for (method, public) in
        [("Register", true), ("Login", true), ("UserInfo", false), ("ChangePassword", false), ("UpdateProfile", false)]
    {
        let access = rules.get(&format!("/mall.user.v1.UserService/{method}")).unwrap();
        assert_eq!((access.public, access.user, access.admin), (public, !public, false), "{method}");
    }
}
