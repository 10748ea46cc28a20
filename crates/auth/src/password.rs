//! Argon2id off the async threads, in bounded memory and a bounded queue.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use redact::Secret;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// 19 MiB, two passes, one lane: the first of OWASP's recommendations.
const PARAMS: Params = Params::DEFAULT;

/// Blocks for which memory is reserved, of which a hash touches 19 Ki: over 32 MiB, the GNU allocator maps it afresh and
/// gives it back when it is freed. Smaller, it would stay with whichever thread had it: 700 MiB after 200 hashes.
const RESERVED: usize = 33 * 1024;

/// When one who had no turn may ask again.
const RETRY: Duration = Duration::from_secs(1);

/// How much of the machine the hashing of passwords may take.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Hashes at once, each with a thread and 19 MiB. Default: the number of cores.
    pub threads: NonZeroUsize,
    /// Calls that may wait for a thread; the next is ResourceExhausted. Default 256.
    pub queue: usize,
    /// How long a call waits for a thread before it is ResourceExhausted; less than a call may take. Default 1 s.
    #[serde(with = "humantime_serde")]
    pub wait: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { threads: available_parallelism().unwrap_or(NonZeroUsize::MIN), queue: 256, wait: Duration::from_secs(1) }
    }
}

/// Why a password was neither hashed nor verified.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// As many calls wait as may, or this one has waited for as long as it may.
    #[error("too many passwords wait to be hashed")]
    Busy,
    /// What was stored is not an Argon2 hash in PHC form.
    #[error("the stored password hash is not one of Argon2")]
    Malformed,
    /// The hash was not computed.
    #[error("hash a password")]
    Hash(#[from] argon2::Error),
    /// The thread that hashed it broke off.
    #[error("run a password hash")]
    Thread(#[from] tokio::task::JoinError),
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        match error {
            Error::Busy => {
                let details = ErrorDetails::with_retry_info(Some(RETRY));
                // Not UNAVAILABLE, by which callers take a service for broken, and stop to call it.
                Self::with_error_details(Code::ResourceExhausted, "the service is busy, try again", details)
            }
            Error::Malformed | Error::Hash(_) | Error::Thread(_) => {
                tracing::error!(error = &error as &dyn std::error::Error, "password");
                Self::internal("internal error")
            }
        }
    }
}

/// Hashes and verifies passwords. Clones share the queue.
///
/// Calls have their turns in the order in which they came. One that is dropped while it waits costs nothing.
#[derive(Clone, Debug)]
pub struct Passwords {
    /// One permit for each call that hashes or waits.
    places: Arc<Semaphore>,
    /// One permit for each call that hashes.
    turns: Arc<Semaphore>,
    wait: Duration,
}

impl Passwords {
    /// A queue as the configuration says.
    pub fn new(config: &Config) -> Self {
        let threads = config.threads.get().min(Semaphore::MAX_PERMITS / 2);
        let queue = config.queue.min(Semaphore::MAX_PERMITS / 2);
        let (places, turns) = (Arc::new(Semaphore::new(threads + queue)), Arc::new(Semaphore::new(threads)));
        Self { places, turns, wait: config.wait }
    }

    /// The hash to store for this password, in PHC form with a salt of its own.
    pub async fn hash(&self, password: Secret<String>) -> Result<String, Error> {
        self.run(move || {
            let salt = Salt::generate();
            let hash = compute(Algorithm::Argon2id, Version::V0x13, &PARAMS, &password, &salt)?;
            phc(salt, hash).map(|phc| phc.to_string())
        })
        .await
    }

    /// Whether this password is the one of which `stored` is the hash.
    pub async fn verify(&self, password: Secret<String>, stored: &str) -> Result<bool, Error> {
        let stored = PasswordHash::new(stored).map_err(|_| Error::Malformed)?;
        self.compare(password, stored).await
    }

    /// Takes as long as verifying a wrong password: for a login whose mobile is unknown.
    pub async fn verify_nothing(&self, password: Secret<String>) -> Result<(), Error> {
        self.compare(password, of_nothing()?).await.map(drop)
    }

    /// Compares in constant time, with the parameters of the stored hash.
    async fn compare(&self, password: Secret<String>, stored: PasswordHash) -> Result<bool, Error> {
        let malformed = |_| Error::Malformed;
        let algorithm = Algorithm::try_from(stored.algorithm.as_str()).map_err(|_| Error::Malformed)?;
        let version = stored.version.map_or(Ok(Version::V0x13), Version::try_from).map_err(malformed)?;
        let params = Params::try_from(&stored).map_err(|_| Error::Malformed)?;
        let (Some(salt), Some(hash)) = (stored.salt, stored.hash) else { return Err(Error::Malformed) };
        self.run(move || Ok(compute(algorithm, version, &params, &password, &salt)? == hash)).await
    }

    /// Runs a job on a blocking thread when its turn has come.
    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Error::Busy)?;
        let turn = tokio::time::timeout(self.wait, Arc::clone(&self.turns).acquire_owned()).await;
        // Nothing closes the semaphore.
        let turn = turn.map_err(|_| Error::Busy)?.map_err(|_| Error::Busy)?;
        // The job keeps its permits to its end, also when the caller has gone away.
        tokio::task::spawn_blocking(move || {
            let result = job();
            drop((turn, place));
            result
        })
        .await?
    }
}

/// Whether a stored hash was made with other parameters than are used today; log in, then hash anew and store.
pub fn needs_rehash(stored: &str) -> bool {
    let Ok(stored) = PasswordHash::new(stored) else { return true };
    let Ok(params) = Params::try_from(&stored) else { return true };
    let cost = |params: &Params| (params.m_cost(), params.t_cost(), params.p_cost());
    stored.algorithm != Algorithm::Argon2id.ident()
        || stored.version != Some(Version::V0x13.into())
        || cost(&params) != cost(&PARAMS)
        || stored.hash.is_none_or(|hash| hash.len() != Params::DEFAULT_OUTPUT_LEN)
}

fn compute(
    algorithm: Algorithm,
    version: Version,
    params: &Params,
    password: &Secret<String>,
    salt: &Salt,
) -> Result<Output, Error> {
    let mut memory = Vec::with_capacity(RESERVED);
    memory.resize(params.block_count(), Block::new());
    let mut out = [0; Output::MAX_LENGTH];
    let length = params.output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN);
    let out = out.get_mut(..length).ok_or(Error::Malformed)?;
    let argon2 = Argon2::new(algorithm, version, params.clone());
    argon2.hash_password_into_with_memory(password.expose_secret().as_bytes(), salt, out, &mut memory)?;
    Output::new(out).map_err(|_| Error::Malformed)
}

/// The hash of no password that anyone will find, as costly as any.
fn of_nothing() -> Result<PasswordHash, Error> {
    let salt = Salt::new(&[0; Salt::RECOMMENDED_LENGTH]).map_err(|_| Error::Malformed)?;
    phc(salt, Output::new(&[0; Params::DEFAULT_OUTPUT_LEN]).map_err(|_| Error::Malformed)?)
}

fn phc(salt: Salt, hash: Output) -> Result<PasswordHash, Error> {
    Ok(PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&PARAMS).map_err(|_| Error::Malformed)?,
        salt: Some(salt),
        hash: Some(hash),
    })
}

#[cfg(test)]
mod tests;
