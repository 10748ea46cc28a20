//! How much it matters that a call is answered when there are too many: said by its method, passed on to every call that
//! is made for it.

use std::future::Future;
use std::str::FromStr;

use http::{HeaderMap, HeaderValue};

/// The metadata key under which a caller says how critical the call is that it makes this one for.
pub const CRITICALITY: &str = "x-criticality";

/// How much a call matters, the least first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Criticality {
    /// It is refused first: somebody looks around.
    Sheddable,
    /// Most calls.
    #[default]
    Normal,
    /// It is refused last: something was promised, or paid.
    Critical,
}

tokio::task_local! {
    static CURRENT: Criticality;
}

impl Criticality {
    pub(crate) const COUNT: usize = 3;

    /// Its name in metadata.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sheddable => "sheddable",
            Self::Normal => "normal",
            Self::Critical => "critical",
        }
    }

    /// Of the call that is being handled; `None` outside of any.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(|current| *current).ok()
    }

    /// Runs `future` as (a part of) a call that is so critical.
    pub fn scope<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(self, future)
    }

    /// What a caller says; nothing if it says nothing that is known.
    pub(crate) fn said(headers: &HeaderMap) -> Option<Self> {
        headers.get(CRITICALITY)?.to_str().ok()?.parse().ok()
    }

    /// Says that a call is made for the one that is being handled.
    pub(crate) fn tell(headers: &mut HeaderMap) {
        if let Some(current) = Self::current() {
            headers.insert(CRITICALITY, HeaderValue::from_static(current.name()));
        }
    }
}

impl FromStr for Criticality {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        [Self::Sheddable, Self::Normal, Self::Critical].into_iter().find(|it| it.name() == name).ok_or(())
    }
}
