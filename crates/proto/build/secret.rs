//! Writes `Debug` for messages with fields that are marked `debug_redact`, which no log may show.

use prost_reflect::{DescriptorPool, FieldDescriptor, MessageDescriptor};

/// The messages that have such a field.
pub(crate) fn messages(pool: &DescriptorPool) -> Vec<MessageDescriptor> {
    pool.all_messages().filter(|message| message.fields().any(|field| is_secret(&field))).collect()
}

/// `Debug` for those of `messages` that are in `package`.
pub(crate) fn debug(messages: &[MessageDescriptor], package: &str) -> String {
    messages.iter().filter(|message| message.package_name() == package).map(of).collect()
}

fn of(message: &MessageDescriptor) -> String {
    let name = message.name();
    let fields = message.fields().map(|field| {
        let name = field.name();
        let value = if is_secret(&field) { "\"***\"".to_owned() } else { format!("self.{name}") };
        format!(".field({name:?}, &{value})")
    });
    let fields: String = fields.collect();
    format!(
        "
impl ::core::fmt::Debug for {name} {{
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {{
        f.debug_struct({name:?}){fields}.finish()
    }}
}}
"
    )
}

fn is_secret(field: &FieldDescriptor) -> bool {
    field.options().get_field_by_name("debug_redact").is_some_and(|value| value.as_bool() == Some(true))
}
