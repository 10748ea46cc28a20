//! That what is generated is what its readers count on.

use proto::user::v1::{
    ChangePasswordRequest, LoginRequest, LoginResponse, RegisterRequest, RegisterResponse, UpdateProfileRequest,
};
use serde_json::{Value, json};

#[test]
fn json_writes_defaults_and_int64_as_a_string() {
    let response = RegisterResponse { id: 0, name: String::new(), gender: 0, mobile: String::new() };
    let expected = json!({ "id": "0", "name": "", "gender": 0, "mobile": "" });
    assert_eq!(serde_json::to_value(response).unwrap(), expected);
    let expire: LoginResponse = serde_json::from_value(json!({ "accessExpire": 9_007_199_254_740_993_i64 })).unwrap();
    assert_eq!(serde_json::to_value(expire).unwrap()["accessExpire"], "9007199254740993");
}

#[test]
fn json_takes_numbers_as_strings_and_both_field_names() {
    for (text, gender) in [(r#"{"gender":2}"#, 2), (r#"{"gender":"2"}"#, 2), ("{}", 0)] {
        assert_eq!(serde_json::from_str::<RegisterRequest>(text).unwrap().gender, gender, "{text}");
    }
    for text in [r#"{"accessExpire":7}"#, r#"{"accessExpire":"7"}"#, r#"{"access_expire":7}"#] {
        assert_eq!(serde_json::from_str::<LoginResponse>(text).unwrap().access_expire, 7, "{text}");
    }
    let absent: UpdateProfileRequest = serde_json::from_str(r#"{"name":null}"#).unwrap();
    assert_eq!(absent, UpdateProfileRequest::default());
}

#[test]
fn json_refuses_what_it_does_not_know() {
    for text in [r#"{"nmae":"x"}"#, r#"{"name":1}"#, r#"{"gender":"two"}"#, r#"{"gender":4294967296}"#, "[]", "null"] {
        serde_json::from_str::<RegisterRequest>(text).unwrap_err();
    }
}

#[test]
fn debug_shows_no_secret() {
    let login = LoginRequest { mobile: "15812345678".to_owned(), password: "hush".to_owned() };
    assert_eq!(format!("{login:?}"), r#"LoginRequest { mobile: "15812345678", password: "***" }"#);
    let change = ChangePasswordRequest { old_password: "hush".to_owned(), new_password: "hush".to_owned() };
    let register = RegisterRequest { password: "hush".to_owned(), ..Default::default() };
    let answer = LoginResponse { access_token: "hush".to_owned(), access_expire: 7 };
    let all = format!("{change:?} {register:?} {answer:?}");
    assert!(!all.contains("hush") && all.contains("access_expire: 7"), "{all}");
}

#[test]
fn descriptors_keep_options_and_comments() {
    let pool = proto::descriptors();
    let allow = pool.get_extension_by_name("mall.access.v1.allow").unwrap();
    let service = pool.get_service_by_name("mall.user.v1.UserService").unwrap();
    for method in service.methods() {
        assert!(method.options().has_extension(&allow), "{}", method.full_name());
    }
    assert!(service.parent_file().file_descriptor_proto().source_code_info.is_some());
}

#[test]
fn openapi_lists_every_route_with_its_comments_and_security() {
    let document: Value = serde_json::from_str(proto::openapi::USER).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let mut ids = Vec::new();
    for (method, path) in proto::rest::user::ROUTES {
        let operation = &document["paths"][path][method.to_lowercase()];
        assert!(operation["description"].as_str().is_some_and(|text| !text.is_empty()), "{method} {path}: {operation}");
        ids.push(operation["operationId"].as_str().unwrap());
    }
    let unique: std::collections::HashSet<_> = ids.iter().collect();
    assert_eq!(unique.len(), ids.len(), "{ids:?}");

    assert_eq!(document["paths"]["/api/user/login"]["post"]["security"], json!([]));
    let userinfo = &document["paths"]["/api/user/userinfo"]["get"];
    assert_eq!(userinfo["security"], json!([{ "bearer": [] }]));
    assert_eq!(userinfo["responses"]["401"]["$ref"], "#/components/responses/Unauthenticated");
    let password = &document["components"]["schemas"]["mall.user.v1.RegisterRequest"]["properties"]["password"];
    assert_eq!(password["description"], "6 to 128 characters.");
}

#[test]
fn openapi_has_the_refusals_of_a_method_and_no_others() {
    let document: Value = serde_json::from_str(proto::openapi::USER).unwrap();
    let refusals = |method: &str, path: &str| {
        let responses = document["paths"][path][method]["responses"].as_object().unwrap();
        let refusals = responses.keys().filter(|status| status.starts_with('4')).cloned();
        refusals.collect::<Vec<_>>().join(" ")
    };
    // A body; no token, but a comment that names AlreadyExists.
    assert_eq!(refusals("post", "/api/user/register"), "400 408 409 413 415 429 431");
    // No token, but a comment that names Unauthenticated.
    assert_eq!(refusals("post", "/api/user/login"), "400 401 408 413 415 429 431");
    // No body, a token, and a comment that names NotFound.
    assert_eq!(refusals("get", "/api/user/userinfo"), "400 401 403 404 429 431");
    let named =
        document["paths"].as_object().unwrap().values().flat_map(|methods| methods.as_object().unwrap().values());
    for response in named.flat_map(|operation| operation["responses"].as_object().unwrap().values()) {
        if let Some(name) = response["$ref"].as_str() {
            assert!(document.pointer(&name[1..]).is_some(), "{name} is nowhere");
        }
    }
}

#[test]
fn openapi_allows_what_json_takes() {
    let document: Value = serde_json::from_str(proto::openapi::PRODUCT).unwrap();
    let schema = |name: &str| &document["components"]["schemas"][format!("mall.product.v1.{name}")];
    let update = schema("UpdateRequest");
    assert_eq!(update["additionalProperties"], false);
    let types = |field: &str| &update["properties"][field]["type"];
    assert_eq!(types("id"), &json!(["string", "integer"]));
    assert_eq!(types("status"), &json!(["integer", "string", "null"]));
    assert_eq!(types("name"), &json!(["string", "null"]));
    assert_eq!(types("updateMask"), &json!(["string", "null"]));
    // An answer has all its fields, and may come to have more.
    let product = schema("Product");
    assert_eq!(product["required"], json!(["id", "name", "desc", "stock", "amount", "status"]));
    assert_eq!(product["properties"]["id"]["type"], "string");
    assert_eq!(product["additionalProperties"], Value::Null);
    let id = &document["paths"]["/api/product/{id}"]["get"]["parameters"][0];
    assert_eq!((&id["name"], &id["schema"]["pattern"]), (&"id".into(), &"^-?[0-9]+$".into()));
}
