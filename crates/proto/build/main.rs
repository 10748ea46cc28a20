//! Compiles the proto files once and writes everything that is made from them.

mod openapi;
mod rest;
mod secret;

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use prost_reflect::DescriptorPool;
use rest_over_grpc::build::{DescriptorOptions, Generator, OpenApiInfo, ServiceDefinition};

/// The APIs: `NAME` is the package `mall.NAME.v1` in `mall/NAME/v1/NAME.proto`.
const APIS: [&str; 4] = ["user", "product", "order", "pay"];

/// Who has the well-known types; the more exact name wins.
const EXTERN: [(&str, &str); 2] =
    [(".google.protobuf", "::pbjson_types"), (".google.protobuf.FieldMask", "crate::FieldMask")];

#[expect(clippy::print_stdout, reason = "it is how a build script speaks to cargo")]
fn main() -> Result<(), Box<dyn Error>> {
    // Asked for when it runs: a build directory that two checkouts share has the script of one of them.
    let source = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    println!("cargo::rerun-if-changed={}", source.display());

    let mut compiler = protox::Compiler::new([&source])?;
    compiler.include_imports(true).include_source_info(true);
    for api in APIS {
        compiler.open_file(source.join(format!("mall/{api}/v1/{api}.proto")))?;
    }
    let descriptors = compiler.encode_file_descriptor_set();
    fs::write(out.join("descriptors.bin"), &descriptors)?;
    let pool = DescriptorPool::decode(descriptors.as_slice())?;
    let secret = secret::messages(&pool);

    // Field options are kept only in the encoded form, which tonic has no use for.
    let generated = tonic_prost_build::configure().build_transport(false).compile_well_known_types(true);
    EXTERN
        .into_iter()
        .fold(generated, |generated, (name, path)| generated.extern_path(name, path))
        .skip_debug(secret.iter().map(|message| message.full_name()))
        .compile_fds(compiler.file_descriptor_set())?;
    let mut json = pbjson_build::Builder::new();
    EXTERN.into_iter().for_each(|(name, path)| {
        json.extern_path(name, path);
    });
    json.register_descriptors(&descriptors)?.emit_fields().build(&APIS.map(|api| format!(".mall.{api}")))?;

    for api in APIS {
        fs::write(out.join(format!("mall.{api}.v1.debug.rs")), secret::debug(&secret, &format!("mall.{api}.v1")))?;
        write_rest(api, &descriptors, &pool, &out)?;
    }
    Ok(())
}

/// Writes the REST trait beside the messages, and the API's transcoder, client and OpenAPI document to its directory.
fn write_rest(api: &str, descriptors: &[u8], pool: &DescriptorPool, out: &Path) -> Result<(), Box<dyn Error>> {
    let package = format!("mall.{api}.v1");
    let options = DescriptorOptions::new().package(format!(".{package}"));
    let options = EXTERN.into_iter().fold(options, |options, (name, path)| options.extern_path(name, path));
    let info = OpenApiInfo::new(format!("{api}.api"), env!("CARGO_PKG_VERSION"));
    let mut generator = Generator::builder().emit_tonic_bridge(false).emit_openapi_spec(Some(info)).build();
    generator.add_all(ServiceDefinition::from_fds(descriptors, &options)?);

    let dir = out.join(api);
    fs::create_dir_all(&dir)?;
    generator.write(&dir)?;
    fs::rename(dir.join(format!("{package}.rest.rs")), out.join(format!("{package}.rest.rs")))?;
    fs::write(dir.join("forward.rs"), rest::forward(pool, &package)?)?;

    let document = fs::read_to_string(dir.join(format!("{package}.openapi.json")))?;
    fs::write(dir.join("openapi.json"), openapi::complete(&document, pool, &package)?)?;
    Ok(())
}
