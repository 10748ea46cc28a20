//! Generated messages, clients, servers and JSON of mall's APIs, and their descriptors.
//!
//! An API is added by its file under `proto/mall`, a line in `apis!` below and its name in `build/main.rs`.

#![warn(missing_docs)]

use std::sync::LazyLock;

use prost_reflect::DescriptorPool;

/// Every file of mall's APIs and what they import, encoded, with their comments.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The descriptors of [`FILE_DESCRIPTOR_SET`], from which options such as `mall.access.v1.allow` are read.
pub fn descriptors() -> &'static DescriptorPool {
    static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
        DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the compiler that wrote the descriptors checked them")
    });
    &POOL
}

macro_rules! generated {
    ($($path:expr),+) => {
        include!(concat!(env!("OUT_DIR"), "/", $($path),+));
    };
}

macro_rules! apis {
    ($($api:ident $constant:ident),+) => {
        $(
            #[doc = concat!("The packages `mall.", stringify!($api), ".*`.")]
            pub mod $api {
                #[doc = concat!("The package `mall.", stringify!($api), ".v1`.")]
                #[expect(missing_docs, reason = "the proto files document what needs it")]
                #[expect(clippy::allow_attributes, reason = "the generators write them")]
                pub mod v1 {
                    generated!("mall.", stringify!($api), ".v1.rs");
                    generated!("mall.", stringify!($api), ".v1.debug.rs");
                    generated!("mall.", stringify!($api), ".v1.serde.rs");
                    generated!("mall.", stringify!($api), ".v1.rest.rs");
                }
            }
        )+

        /// REST in front of each API: its routes, a transcoder, and what makes a gRPC client serve it.
        pub mod rest {
            generated!("rest.rs");
            $(
                #[doc = concat!("REST in front of `mall.", stringify!($api), ".v1`.")]
                #[expect(rustdoc::redundant_explicit_links, reason = "the generator writes them")]
                pub mod $api {
                    use crate as mall;
                    generated!(stringify!($api), "/transcoder.rest.rs");
                    generated!(stringify!($api), "/forward.rs");
                }
            )+
        }

        /// Each API as an OpenAPI 3.1 document in JSON.
        pub mod openapi {
            $(
                #[doc = concat!("Of `mall.", stringify!($api), ".v1`.")]
                pub const $constant: &str =
                    include_str!(concat!(env!("OUT_DIR"), "/", stringify!($api), "/openapi.json"));
            )+
        }
    };
}

apis! {
    user USER
}

/// The packages `mall.access.*`.
pub mod access {
    /// The package `mall.access.v1`: who may call a method.
    pub mod v1 {
        generated!("mall.access.v1.rs");
    }
}
