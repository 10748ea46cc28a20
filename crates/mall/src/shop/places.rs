//! Where a running mall is: as flags say, or the data directory of its `mall up`, or on the usual ports.

use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::Context as _;
use gateway::Api;
use http::Uri;
use serde_json::Value;

use crate::up::ADDRESSES;

/// What the command line says of where a mall is.
#[derive(clap::Args, Debug)]
pub(crate) struct Whereabouts {
    /// The data directory of the `mall up` that runs, which says where everything is
    #[arg(long, env = "MALL_DATA_DIR", value_name = "DIR", default_value = ".mall")]
    data_dir: PathBuf,
    /// The directory with the payment provider's secret, if not `keys` in the data directory
    #[arg(long, env = "MALL_KEYS", value_name = "DIR")]
    keys: Option<PathBuf>,
    /// Where user.api is, if not where the data directory says
    #[arg(long, env = "MALL_USER_API", value_name = "URL", value_parser = api)]
    user_api: Option<String>,
    /// Where product.api is, if not where the data directory says
    #[arg(long, env = "MALL_PRODUCT_API", value_name = "URL", value_parser = api)]
    product_api: Option<String>,
    /// Where order.api is, if not where the data directory says
    #[arg(long, env = "MALL_ORDER_API", value_name = "URL", value_parser = api)]
    order_api: Option<String>,
    /// Where pay.api is, if not where the data directory says
    #[arg(long, env = "MALL_PAY_API", value_name = "URL", value_parser = api)]
    pay_api: Option<String>,
    /// Where the trace viewer is, or another Jaeger
    #[arg(long, env = "MALL_VIEWER", value_name = "URL", value_parser = viewer)]
    viewer: Option<String>,
}

impl Whereabouts {
    pub(crate) fn keys(&self) -> PathBuf {
        self.keys.clone().unwrap_or_else(|| self.data_dir.join("keys"))
    }
}

fn api(url: &str) -> Result<String, String> {
    base(url, &["http"]).ok_or_else(|| "write it as http://HOST:PORT".to_owned())
}

fn viewer(url: &str) -> Result<String, String> {
    base(url, &["http", "https"]).ok_or_else(|| "write it as http://HOST:PORT or https://HOST".to_owned())
}

/// The URL without the slash at its end, to which a path can be added.
fn base(url: &str, schemes: &[&str]) -> Option<String> {
    let uri = url.parse::<Uri>().ok()?;
    let fits = uri.scheme_str().is_some_and(|scheme| schemes.contains(&scheme)) && uri.host().is_some();
    (fits && uri.query().is_none()).then(|| uri.to_string().trim_end_matches('/').to_owned())
}

/// The flag that says where an API is.
pub(super) fn flag(api: Api) -> &'static str {
    match api {
        Api::User => "--user-api",
        Api::Product => "--product-api",
        Api::Order => "--order-api",
        Api::Pay => "--pay-api",
    }
}

/// The base URL of everything.
#[derive(Clone, Debug)]
pub(super) struct Places {
    user: String,
    product: String,
    order: String,
    pay: String,
    pub(super) viewer: String,
}

impl Places {
    pub(super) fn find(whereabouts: &Whereabouts) -> anyhow::Result<Self> {
        let path = whereabouts.data_dir.join(ADDRESSES);
        let running = match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .with_context(|| format!("{} is broken: start `mall up` again, which writes it", path.display()))?,
            Err(error) if error.kind() == ErrorKind::NotFound => Value::Null,
            Err(error) => return Err(error).context(format!("read {}", path.display())),
        };
        Ok(Self::resolve(whereabouts, &running))
    }

    /// A flag comes before what `running` says, which comes before the usual port.
    fn resolve(whereabouts: &Whereabouts, running: &Value) -> Self {
        let place = |flag: &Option<String>, name: &str, port: u16| {
            let running = || running["services"][name]["listen"].as_str().map(|address| format!("http://{address}"));
            flag.clone().or_else(running).unwrap_or_else(|| format!("http://127.0.0.1:{port}"))
        };
        Self {
            user: place(&whereabouts.user_api, "user.api", 8000),
            product: place(&whereabouts.product_api, "product.api", 8001),
            order: place(&whereabouts.order_api, "order.api", 8002),
            pay: place(&whereabouts.pay_api, "pay.api", 8003),
            viewer: place(&whereabouts.viewer, "viewer", 5000),
        }
    }

    pub(super) fn of(&self, api: Api) -> &str {
        match api {
            Api::User => &self.user,
            Api::Product => &self.product,
            Api::Order => &self.order,
            Api::Pay => &self.pay,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        whereabouts: Whereabouts,
    }

    fn whereabouts(arguments: &[&str]) -> Whereabouts {
        Line::try_parse_from([&["shop"], arguments].concat()).unwrap().whereabouts
    }

    #[test]
    fn a_flag_comes_before_the_data_directory_and_that_before_the_usual_port() {
        let running = json!({ "services": {
            "user.api": { "listen": "127.0.0.1:21001", "admin": "127.0.0.1:21002" },
            "order.api": { "listen": "127.0.0.1:21003" },
        } });
        let whereabouts = whereabouts(&["--user-api", "http://shop.example/", "--viewer", "https://jaeger.example"]);
        let places = Places::resolve(&whereabouts, &running);
        assert_eq!(places.of(Api::User), "http://shop.example");
        assert_eq!(places.of(Api::Order), "http://127.0.0.1:21003");
        assert_eq!(places.of(Api::Pay), "http://127.0.0.1:8003");
        assert_eq!(places.viewer, "https://jaeger.example");
    }

    #[test]
    fn a_data_directory_may_have_no_addresses_but_not_broken_ones() {
        let dir = tempfile::tempdir().unwrap();
        let whereabouts = whereabouts(&["--data-dir", dir.path().to_str().unwrap()]);
        assert_eq!(Places::find(&whereabouts).unwrap().of(Api::Product), "http://127.0.0.1:8001");
        assert_eq!(whereabouts.keys(), dir.path().join("keys"));
        std::fs::write(dir.path().join(ADDRESSES), "{").unwrap();
        let error = Places::find(&whereabouts).unwrap_err().to_string();
        assert!(error.contains("mall up"), "{error}");
    }

    #[test]
    fn the_usual_ports_are_those_of_the_built_in_configuration() {
        let places = Places::resolve(&whereabouts(&[]), &Value::Null);
        for (name, place) in [
            ("user.api", &places.user),
            ("product.api", &places.product),
            ("order.api", &places.order),
            ("pay.api", &places.pay),
        ] {
            let process = crate::services::find(name).unwrap().configure(&crate::config::Sources::default()).unwrap();
            let port = process.section.addresses()[0].1.port();
            assert_eq!(*place, format!("http://127.0.0.1:{port}"));
        }
    }

    #[test]
    fn a_url_is_a_base() {
        assert_eq!(api("http://a:1/shop/"), Ok("http://a:1/shop".to_owned()));
        for wrong in ["https://a", "a:1", "/a", "http://a?b", ""] {
            assert!(api(wrong).is_err(), "{wrong}");
        }
        assert!(viewer("https://a").is_ok());
    }
}
