//! Generated messages, clients, servers and JSON of mall's APIs, and their descriptors.
//!
//! An API is added by its file under `proto/mall` and its name in `build/main.rs`.

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

include!(concat!(env!("OUT_DIR"), "/apis.rs"));

/// The packages `mall.access.*`.
pub mod access {
    /// The package `mall.access.v1`: who may call a method.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/mall.access.v1.rs"));
    }
}
