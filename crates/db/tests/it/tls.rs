//! PostgreSQL with TLS: what each `sslmode` accepts.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use db::{Error, Pool, PoolConfig, with_conn};
use diesel::QueryableByName;
use diesel::sql_types::{Bool, Nullable, Text};
use diesel_async::RunQueryDsl;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use testkit::database::Server;
use testkit::requirement;

#[derive(Debug, PartialEq, Eq, QueryableByName)]
struct Session {
    #[diesel(sql_type = Bool)]
    ssl: bool,
    #[diesel(sql_type = Nullable<Text>)]
    client_dn: Option<String>,
}

async fn session(url: &str) -> Result<Session, Error> {
    let pool = Pool::new(&url.parse()?, &PoolConfig::default())?;
    Ok(with_conn!(pool, conn => {
        let query = diesel::sql_query("select ssl, client_dn from pg_stat_ssl where pid = pg_backend_pid()");
        query.get_result(&mut conn).await?
    }))
}

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Issuer {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Writes `NAME.crt` and `NAME.key` of a certificate for `host`.
fn issue(issuer: &Issuer, directory: &Path, name: &str, host: &str) {
    let mut params = CertificateParams::new([host.to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "postgres");
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    fs::write(directory.join(format!("{name}.crt")), certificate.pem()).unwrap();
    let key_path = directory.join(format!("{name}.key"));
    fs::write(&key_path, key.serialize_pem()).unwrap();
    fs::set_permissions(key_path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test]
async fn each_mode_accepts_what_libpq_accepts() {
    let directory = TempDir::new().unwrap();
    let (ours, strange) = (authority("ours"), authority("strange"));
    let path = |name: &str| directory.path().join(name).display().to_string();
    fs::write(path("ours.pem"), ours.pem()).unwrap();
    fs::write(path("strange.pem"), strange.pem()).unwrap();
    issue(&ours, directory.path(), "client", "client");
    // The certificate is for `localhost`; 127.0.0.1 is another name.
    let server = Server::start_with(&["ssl=on", "ssl_ca_file=ours.pem"], |data| {
        issue(&ours, data, "server", "localhost");
        fs::write(data.join("ours.pem"), ours.pem())
    });
    let server = match server {
        Ok(server) => server,
        Err(why) => return requirement::missing("postgres", why),
    };
    let other_name = server.url("postgres");
    let right_name = other_name.replace("127.0.0.1", "localhost");
    let (ours, strange) = (format!("sslrootcert={}", path("ours.pem")), format!("sslrootcert={}", path("strange.pem")));
    let mutual = format!("sslmode=verify-full&{ours}&sslcert={}&sslkey={}", path("client.crt"), path("client.key"));

    for (url, parameters, encrypted) in [
        (&other_name, String::new(), Some(true)),
        (&other_name, "sslmode=disable".to_owned(), Some(false)),
        (&other_name, "sslmode=prefer".to_owned(), Some(true)),
        (&other_name, "sslmode=require".to_owned(), Some(true)),
        (&other_name, format!("sslmode=require&{ours}"), Some(true)),
        (&other_name, format!("sslmode=require&{strange}"), None),
        (&other_name, format!("sslmode=verify-ca&{ours}"), Some(true)),
        (&other_name, format!("sslmode=verify-ca&{strange}"), None),
        (&right_name, format!("sslmode=verify-full&{ours}"), Some(true)),
        (&other_name, format!("sslmode=verify-full&{ours}"), None),
        (&right_name, format!("sslmode=verify-full&{strange}"), None),
        (&right_name, "sslmode=verify-full".to_owned(), None),
        (&right_name, mutual.clone(), Some(true)),
    ] {
        let seen = session(&format!("{url}?{parameters}")).await;
        match (&seen, encrypted) {
            (Ok(session), Some(encrypted)) => assert_eq!(session.ssl, encrypted, "{parameters}"),
            (Err(Error::Connect(_)), None) => {}
            _ => panic!("{parameters}: {seen:?}"),
        }
    }
    let subject = session(&format!("{right_name}?{mutual}")).await.unwrap().client_dn;
    assert_eq!(subject.as_deref(), Some("/CN=postgres"));
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_is_required() {
    let server = match Server::start(&[]) {
        Ok(server) => server,
        Err(why) => return requirement::missing("postgres", why),
    };
    let url = server.url("postgres");
    assert!(!session(&format!("{url}?sslmode=prefer")).await.unwrap().ssl);
    assert!(matches!(session(&format!("{url}?sslmode=require")).await, Err(Error::Connect(_))));
}

#[tokio::test]
async fn a_missing_certificate_is_named_at_the_start() {
    let url = "postgres://127.0.0.1/x?sslmode=verify-full&sslrootcert=/nowhere/ca.pem".parse().unwrap();
    let Err(Error::Tls { path, .. }) = Pool::new(&url, &PoolConfig::default()) else { panic!("accepted") };
    assert_eq!(path, Path::new("/nowhere/ca.pem"));
}
