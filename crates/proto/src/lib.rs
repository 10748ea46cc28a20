//! Generated messages, clients, servers and JSON of mall's APIs, and their descriptors.
//!
//! An API is added by its file under `proto/mall` and its name here and in `build/main.rs`.

#![warn(missing_docs)]

mod field_mask;
mod forward;

use std::sync::LazyLock;

pub use field_mask::FieldMask;
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

/// The modules of each API, from what the build script wrote of it.
macro_rules! apis {
    ($($name:ident $constant:ident),+) => {
        $(
            #[doc = concat!("The packages `mall.", stringify!($name), ".*`.")]
            pub mod $name {
                #[doc = concat!("The package `mall.", stringify!($name), ".v1`.")]
                #[expect(missing_docs, reason = "the proto files document what needs it")]
                #[expect(clippy::allow_attributes, reason = "the generators write them")]
                pub mod v1 {
                    include!(concat!(env!("OUT_DIR"), "/mall.", stringify!($name), ".v1.rs"));
                    include!(concat!(env!("OUT_DIR"), "/mall.", stringify!($name), ".v1.debug.rs"));
                    include!(concat!(env!("OUT_DIR"), "/mall.", stringify!($name), ".v1.serde.rs"));
                    include!(concat!(env!("OUT_DIR"), "/mall.", stringify!($name), ".v1.rest.rs"));
                }
            }
        )+

        /// REST in front of each API: its routes, a transcoder, and what makes a gRPC client serve it.
        pub mod rest {
            pub use crate::forward::Forward;
            $(
                #[doc = concat!("REST in front of `mall.", stringify!($name), ".v1`.")]
                #[expect(rustdoc::redundant_explicit_links, reason = "the generator writes them")]
                pub mod $name {
                    use crate as mall;
                    include!(concat!(env!("OUT_DIR"), "/", stringify!($name), "/transcoder.rest.rs"));
                    include!(concat!(env!("OUT_DIR"), "/", stringify!($name), "/forward.rs"));
                }
            )+
        }

        /// Each API as an OpenAPI 3.1 document in JSON.
        pub mod openapi {
            $(
                #[doc = concat!("Of `mall.", stringify!($name), ".v1`.")]
                pub const $constant: &str = include_str!(concat!(env!("OUT_DIR"), "/", stringify!($name), "/openapi.json"));
            )+
        }
    };
}

apis!(user USER, product PRODUCT, order ORDER, pay PAY);

/// The packages `mall.access.*`.
pub mod access {
    /// The package `mall.access.v1`: who may call a method.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/mall.access.v1.rs"));
    }
}
