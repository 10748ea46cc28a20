//! Who may call each method, read from the option `mall.access.v1.allow` in the descriptors.

use std::collections::HashMap;

use prost_reflect::{DescriptorPool, ExtensionDescriptor, MethodDescriptor};
use proto::access::v1::Access;

use crate::{Caller, Error, Role};

/// Who may call which method.
#[derive(Clone, Debug)]
pub struct Rules(HashMap<String, Access>);

impl Rules {
    /// The rules of all methods of these services, such as `mall.user.v1.UserService`.
    pub fn of(services: &[&str]) -> Result<Self, Error> {
        Self::from_pool(proto::descriptors(), services)
    }

    /// The same from other descriptors than mall's.
    pub fn from_pool(pool: &DescriptorPool, services: &[&str]) -> Result<Self, Error> {
        let option = pool.get_extension_by_name("mall.access.v1.allow").ok_or(Error::NoExtension)?;
        let mut rules = HashMap::new();
        for name in services {
            let service = pool.get_service_by_name(name).ok_or_else(|| Error::NoService((*name).to_owned()))?;
            for method in service.methods() {
                rules.insert(format!("/{name}/{}", method.name()), access(&method, &option)?);
            }
        }
        Ok(Self(rules))
    }

    /// Who may call the method of this path, such as `/mall.user.v1.UserService/Login`.
    pub fn get(&self, path: &str) -> Option<&Access> {
        self.0.get(path)
    }
}

impl Caller {
    /// Whether the caller is one of those that the method names.
    pub fn is_admitted(&self, access: &Access) -> bool {
        match self {
            _ if access.public => true,
            Self::Anonymous => false,
            Self::User { role: Role::User, .. } => access.user,
            Self::User { role: Role::Admin, .. } => access.user || access.admin,
            Self::Service(name) => access.services.contains(name),
        }
    }
}

fn access(method: &MethodDescriptor, option: &ExtensionDescriptor) -> Result<Access, Error> {
    let options = method.options();
    if !options.has_extension(option) {
        return Err(Error::NoRule(method.full_name().to_owned()));
    }
    let value = options.get_extension(option);
    let access: Access = value.as_message().and_then(|message| message.transcode_to().ok()).unwrap_or_default();
    if access == Access::default() {
        return Err(Error::AdmitsNobody(method.full_name().to_owned()));
    }
    Ok(access)
}
