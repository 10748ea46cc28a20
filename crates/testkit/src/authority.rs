//! An authority that issues certificates, for tests of TLS.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

/// An authority, and the directory with what it issues, which goes with it.
#[derive(Debug)]
pub struct Authority {
    dir: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// A new one of this name.
    ///
    /// # Panics
    ///
    /// Panics if it cannot be made, as do the others.
    pub fn new(name: &str) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let mut params = CertificateParams::new([]).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
        fs::write(dir.path().join("ca.pem"), issuer.pem()).expect("write a certificate");
        Self { dir, issuer }
    }

    /// Where its own certificate is, in PEM.
    pub fn certificate(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// Where a file of this name is, in its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes `NAME.pem` and `NAME.key` of a certificate for `host` into its directory, in place of what is there.
    pub fn issue(&self, name: &str, host: &str) -> [PathBuf; 2] {
        self.issue_in(self.dir.path(), name, host)
    }

    /// The same in another directory; the key is for its owner alone.
    pub fn issue_in(&self, dir: &Path, name: &str, host: &str) -> [PathBuf; 2] {
        let mut params = CertificateParams::new([host.to_owned()]).expect("a host");
        params.distinguished_name.push(DnType::CommonName, host);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let [certificate_path, key_path] = ["pem", "key"].map(|ending| dir.join(format!("{name}.{ending}")));
        fs::write(&certificate_path, certificate.pem()).expect("write a certificate");
        fs::write(&key_path, key.serialize_pem()).expect("write a key");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(&key_path, fs::Permissions::from_mode(0o600)).expect("make a key private");
        }
        [certificate_path, key_path]
    }
}
