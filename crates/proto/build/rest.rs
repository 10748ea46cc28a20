//! Writes what makes a tonic client serve the REST trait that `rest_over_grpc` generates.

use std::error::Error;
use std::fmt::Write as _;

use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, ReflectMessage as _};

/// The API's routes, and its REST trait for `Forward`.
pub(crate) fn forward(pool: &DescriptorPool, package: &str) -> Result<String, Box<dyn Error>> {
    let mut routes = String::new();
    let mut impls = String::new();
    for service in pool.services().filter(|service| service.parent_file().package_name() == package) {
        let mut methods = String::new();
        for method in service.methods() {
            if method.is_server_streaming() || method.is_client_streaming() {
                return Err(format!("{} streams: extend build/rest.rs to forward it", method.full_name()).into());
            }
            let bindings = bindings(pool, &method)?;
            for (verb, path) in &bindings {
                writeln!(routes, "    ({verb:?}, {path:?}),")?;
            }
            // A method that only services call has no route.
            if !bindings.is_empty() {
                methods.push_str(&forward_method(&method));
            }
        }
        impls.push_str(&forward_service(package, service.name(), &methods));
    }
    Ok(format!(
        "/// Each route's HTTP method and path template.\npub const ROUTES: &[(&str, &str)] = &[\n{routes}];\n{impls}"
    ))
}

/// The HTTP method and path of each of a method's `google.api.http` bindings.
pub(crate) fn bindings(
    pool: &DescriptorPool,
    method: &MethodDescriptor,
) -> Result<Vec<(String, String)>, Box<dyn Error>> {
    let extension = pool.get_extension_by_name("google.api.http").ok_or("google.api.http is not imported")?;
    let options = method.options();
    let rule = options.get_extension(&extension);
    let rule = rule.as_message().ok_or("google.api.http is not a message")?;
    let additional = rule.get_field_by_name("additional_bindings");
    let additional =
        additional.iter().filter_map(|list| list.as_list()).flatten().filter_map(|value| value.as_message());
    Ok([rule].into_iter().chain(additional).filter_map(binding).collect())
}

fn binding(rule: &DynamicMessage) -> Option<(String, String)> {
    let pattern = rule.descriptor().oneofs().find(|oneof| oneof.name() == "pattern")?;
    let field = pattern.fields().find(|field| rule.has_field(field))?;
    let path = rule.get_field(&field).as_str()?.to_owned();
    Some((field.name().to_uppercase(), path))
}

fn forward_method(method: &MethodDescriptor) -> String {
    let name = snake_case(method.name());
    let input = method.input().name().to_owned();
    let output = method.output().name().to_owned();
    format!(
        "
    async fn {name}(
        &self,
        message: v1::{input},
        cx: &mut ::rest_over_grpc::handling::Context,
    ) -> Result<v1::{output}, ::rest_over_grpc::handling::Status> {{
        let answer = self.client.clone().{name}(Self::request(message, cx)).await;
        answer.map(::tonic::Response::into_inner).map_err(|status| (self.refusal)(status, cx))
    }}
"
    )
}

fn forward_service(package: &str, service: &str, methods: &str) -> String {
    let module = snake_case(service);
    let package = package.replace('.', "::");
    format!(
        "
const _: () = {{
    use ::tonic::codegen::{{Body, Bytes, StdError}};
    use {package} as v1;

    impl<T> v1::{service} for super::Forward<v1::{module}_client::{service}Client<T>>
    where
        T: ::tonic::client::GrpcService<::tonic::body::Body> + Clone + Send + Sync,
        T::Error: Into<StdError>,
        T::Future: Send,
        T::ResponseBody: Body<Data = Bytes> + Send + 'static,
        <T::ResponseBody as Body>::Error: Into<StdError> + Send,
    {{{methods}    }}
}};
"
    )
}

/// `UserInfo` as `user_info`.
fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(c.to_lowercase());
    }
    snake
}
