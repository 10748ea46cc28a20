//! Completes the OpenAPI document with what `rest_over_grpc` leaves out: comments, who may call, refusals, what is read.

mod fields;
mod refusals;

use std::error::Error;

use prost_reflect::{DescriptorPool, FileDescriptor, MessageDescriptor, MethodDescriptor, ServiceDescriptor};
use serde_json::{Map, Value, json};

use crate::rest::bindings;

/// `document` with the proto files' comments, the bearer token where a method wants one, and error answers.
pub(crate) fn complete(document: &str, pool: &DescriptorPool, package: &str) -> Result<String, Box<dyn Error>> {
    let mut document: Value = serde_json::from_str(document)?;
    let services: Vec<_> = pool.services().filter(|service| service.parent_file().package_name() == package).collect();

    document["tags"] = services.iter().map(tag).collect();
    for method in services.iter().flat_map(ServiceDescriptor::methods) {
        for (index, (verb, path)) in bindings(pool, &method)?.into_iter().enumerate() {
            let operation = document["paths"][&path]
                .get_mut(verb.to_lowercase())
                .and_then(Value::as_object_mut)
                .ok_or_else(|| format!("{verb} {path} is not in the OpenAPI document"))?;
            complete_operation(operation, pool, &method)?;
            if index > 0 {
                operation.insert("operationId".to_owned(), format!("{}{index}", method.name()).into());
            }
        }
    }
    let components = document["components"].as_object_mut().ok_or("the OpenAPI document has no components")?;
    complete_components(components, pool, &services);
    Ok(serde_json::to_string_pretty(&document)?)
}

fn tag(service: &ServiceDescriptor) -> Value {
    json!({ "name": service.name(), "description": comment(&service.parent_file(), service.path()) })
}

fn complete_operation(
    operation: &mut Map<String, Value>,
    pool: &DescriptorPool,
    method: &MethodDescriptor,
) -> Result<(), Box<dyn Error>> {
    let comment = comment(&method.parent_file(), method.path());
    let summary = comment.split_once(". ").map_or(comment.as_str(), |(first, _)| first);
    operation.insert("summary".to_owned(), summary.trim_end_matches('.').into());
    operation.insert("description".to_owned(), comment.as_str().into());
    operation.insert("tags".to_owned(), json!([method.parent_service().name()]));
    let body = operation.get_mut("requestBody");
    let has_body = body.is_some();
    if let Some(body) = body {
        // Without a body the message is empty; what it must have is for the service to say.
        body["required"] = false.into();
    }
    for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
        complete_parameter(parameter, &method.input());
    }

    let public = is_public(pool, method)?;
    operation.insert("security".to_owned(), if public { json!([]) } else { json!([{ "bearer": [] }]) });
    let responses = operation["responses"].as_object_mut().ok_or("an operation has no responses")?;
    responses.extend(refusals::of(&comment, has_body, public));
    Ok(())
}

/// Says of a parameter what is said of the field that it sets.
fn complete_parameter(parameter: &mut Value, message: &MessageDescriptor) {
    let name = parameter["name"].as_str().unwrap_or_default();
    let field = message.get_field_by_json_name(name).or_else(|| message.get_field_by_name(name));
    if let Some(field) = field {
        fields::parameter(&mut parameter["schema"], &field);
        describe(parameter, comment(&field.parent_file(), field.path()));
    }
}

fn is_public(pool: &DescriptorPool, method: &MethodDescriptor) -> Result<bool, Box<dyn Error>> {
    let allow = pool.get_extension_by_name("mall.access.v1.allow").ok_or("mall.access.v1.allow is not imported")?;
    let options = method.options();
    if !options.has_extension(&allow) {
        return Err(format!("{} does not say who may call it (mall.access.v1.allow)", method.full_name()).into());
    }
    let access = options.get_extension(&allow);
    let public = access.as_message().and_then(|access| access.get_field_by_name("public")?.as_bool());
    Ok(public.unwrap_or(false))
}

fn complete_components(components: &mut Map<String, Value>, pool: &DescriptorPool, services: &[ServiceDescriptor]) {
    let methods = || services.iter().flat_map(ServiceDescriptor::methods);
    let read = fields::reachable(methods().map(|method| method.input()));
    let written = fields::reachable(methods().map(|method| method.output()));
    let schemas = components.get_mut("schemas").and_then(Value::as_object_mut);
    for (name, schema) in schemas.into_iter().flatten() {
        if let Some(message) = pool.get_message_by_name(name) {
            describe(schema, comment(&message.parent_file(), message.path()));
            if read.contains(name) {
                fields::read(schema, &message);
            } else if written.contains(name) {
                fields::written(schema, &message);
            }
            for field in message.fields() {
                describe(&mut schema["properties"][field.json_name()], comment(&field.parent_file(), field.path()));
            }
        } else if let Some(names) = pool.get_enum_by_name(name) {
            describe(schema, comment(&names.parent_file(), names.path()));
        } else if name == "google.rpc.Status" {
            *schema = status_schema();
        }
    }
    let bearer = "The token that logging in answers, as `Authorization: Bearer TOKEN`.";
    components.insert(
        "securitySchemes".to_owned(),
        json!({ "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": bearer } }),
    );
    components.insert("responses".to_owned(), refusals::all().into());
}

fn describe(schema: &mut Value, comment: String) {
    if !comment.is_empty() {
        schema["description"] = comment.into();
    }
}

fn status_schema() -> Value {
    json!({
        "type": "object",
        "description": "Why a call failed.",
        "properties": {
            "code": { "type": "integer", "format": "int32", "description": "A google.rpc.Code, such as 3 for INVALID_ARGUMENT." },
            "message": { "type": "string", "description": "What is wrong, in English." },
            "details": {
                "type": "array",
                "description": "More about it, such as google.rpc.BadRequest with its fieldViolations or google.rpc.RetryInfo.",
                "items": { "type": "object", "properties": { "@type": { "type": "string" } }, "required": ["@type"] },
            },
        },
        "required": ["code", "message"],
    })
}

/// The comment before the element at `path` of a file, in one line per paragraph.
fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    let location = info.and_then(|info| info.location.iter().find(|location| location.path == path));
    let comment = location.map(|location| location.leading_comments()).unwrap_or_default();
    let paragraphs = comment.split("\n\n").map(|lines| lines.split_whitespace().collect::<Vec<_>>().join(" "));
    paragraphs.collect::<Vec<_>>().join("\n\n")
}
