//! Who may call each method, read from the option `mall.access.v1.allow` in the descriptors.

use std::collections::HashMap;

use prost_reflect::{DescriptorPool, ExtensionDescriptor, MethodDescriptor, Value};

use crate::{Caller, Error, Role};

/// Who may call one method: anyone it names.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Access {
    /// Anyone, with or without a token.
    pub public: bool,
    /// Every user, admins too.
    pub user: bool,
    /// Users who are admins.
    pub admin: bool,
    /// These services.
    pub services: Vec<String>,
}

impl Access {
    /// Whether the caller is one of those named.
    pub fn admits(&self, caller: &Caller) -> bool {
        match caller {
            _ if self.public => true,
            Caller::Anonymous => false,
            Caller::User { role: Role::User, .. } => self.user,
            Caller::User { role: Role::Admin, .. } => self.user || self.admin,
            Caller::Service(name) => self.services.contains(name),
        }
    }
}

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

fn access(method: &MethodDescriptor, option: &ExtensionDescriptor) -> Result<Access, Error> {
    let options = method.options();
    if !options.has_extension(option) {
        return Err(Error::NoRule(method.full_name().to_owned()));
    }
    let value = options.get_extension(option);
    let flag = |name| value.as_message().and_then(|m| m.get_field_by_name(name)?.as_bool()).unwrap_or_default();
    let services = value.as_message().and_then(|m| {
        let names = m.get_field_by_name("services")?;
        Some(names.as_list()?.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    });
    let access = Access {
        public: flag("public"),
        user: flag("user"),
        admin: flag("admin"),
        services: services.unwrap_or_default(),
    };
    if access == Access::default() {
        return Err(Error::AdmitsNobody(method.full_name().to_owned()));
    }
    Ok(access)
}
