//! Writes the modules of the APIs, which the library includes.

use crate::{APIS, rest};

const MESSAGES: &str = r#"
/// The packages `mall.NAME.*`.
pub mod NAME {
    /// The package `mall.NAME.v1`.
    #[expect(missing_docs, reason = "the proto files document what needs it")]
    #[expect(clippy::allow_attributes, reason = "the generators write them")]
    pub mod v1 {
        include!("mall.NAME.v1.rs");
        include!("mall.NAME.v1.debug.rs");
        include!("mall.NAME.v1.serde.rs");
        include!("mall.NAME.v1.rest.rs");
    }
}
"#;

const REST: &str = r#"
/// REST in front of `mall.NAME.v1`.
#[expect(rustdoc::redundant_explicit_links, reason = "the generator writes them")]
pub mod NAME {
    use crate as mall;
    include!("NAME/transcoder.rest.rs");
    include!("NAME/forward.rs");
}
"#;

const OPENAPI: &str = r#"
/// Of `mall.NAME.v1`.
pub const CONSTANT: &str = include_str!("NAME/openapi.json");
"#;

pub(crate) fn all() -> String {
    let each = |text: &str| APIS.map(|api| text.replace("NAME", api).replace("CONSTANT", &api.to_uppercase())).concat();
    let (messages, bridge, rest, openapi) = (each(MESSAGES), rest::BRIDGE, each(REST), each(OPENAPI));
    format!(
        "{messages}
/// REST in front of each API: its routes, a transcoder, and what makes a gRPC client serve it.
pub mod rest {{{bridge}{rest}}}

/// Each API as an OpenAPI 3.1 document in JSON.
pub mod openapi {{{openapi}}}
"
    )
}
