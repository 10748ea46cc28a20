//! Pages of a list whose newest rows come first: a page begins below the last id of the page before, so that its cost
//! does not grow with how far the list has been read, and what is added meanwhile moves nothing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use rpc::{Checks, Rule};

/// How many rows a page has: 1 to 100, or 20 where nothing is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PageSize(i64);

impl PageSize {
    fn parse(size: i32) -> Result<Self, Rule> {
        match size {
            0 => Ok(Self(20)),
            1..=100 => Ok(Self(size.into())),
            _ => Err("must be 1 to 100, or 0 for 20"),
        }
    }
}

/// Which rows of a list are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Page {
    size: PageSize,
    /// Only rows with an id below this one.
    pub below: i64,
    /// Stands for the filter that the page belongs to.
    list: u64,
}

impl Page {
    /// Reads the fields `pageSize` and `pageToken`; `filter` is what tells this list from others.
    pub fn parse(checks: &mut Checks, size: i32, token: &str, filter: &str) -> Option<Self> {
        // The same in every build, for a token may come to a newer one.
        let list =
            digest(&SHA256, filter.as_bytes()).as_ref().iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        let size = checks.field("pageSize", PageSize::parse(size));
        let below = checks.field("pageToken", below(token, list));
        Some(Self { size: size?, below: below?, list })
    }

    /// How many rows to read: one more than the page has, which tells whether there is another page.
    pub fn limit(&self) -> i64 {
        self.size.0 + 1
    }

    /// The rows of the page and the token of the next one, from at most [`Page::limit`] rows; `id` is by what the rows are
    /// in falling order.
    pub fn cut<T>(&self, mut rows: Vec<T>, id: impl Fn(&T) -> i64) -> (Vec<T>, String) {
        let size = usize::try_from(self.size.0).unwrap_or(usize::MAX);
        let is_last = rows.len() <= size;
        rows.truncate(size);
        let next = rows.last().filter(|_| !is_last).map(|last| self.token(id(last)));
        (rows, next.unwrap_or_default())
    }

    fn token(&self, below: i64) -> String {
        URL_SAFE_NO_PAD.encode([self.list.to_be_bytes(), below.to_be_bytes()].concat())
    }
}

fn below(token: &str, list: u64) -> Result<i64, Rule> {
    if token.is_empty() {
        return Ok(i64::MAX);
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
    let number = u128::from_be_bytes(bytes.ok_or("is not a token that this list gave")?);
    // The upper half is the list, the lower one the id.
    let below = i64::try_from(number & u128::from(u64::MAX)).map_err(|_| "is not a token that this list gave")?;
    if (number >> 64) as u64 == list { Ok(below) } else { Err("belongs to a list with another filter") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(size: i32, token: &str, filter: &str) -> Result<Page, rpc::Invalid> {
        let mut checks = Checks::default();
        let page = Page::parse(&mut checks, size, token, filter);
        checks.done(|| page)
    }

    #[test]
    fn a_list_is_read_to_its_end() {
        let all: Vec<i64> = (1..=5).rev().collect();
        let (mut token, mut seen) = (String::new(), Vec::new());
        loop {
            let page = page(2, &token, "mine").unwrap();
            let rows = all.iter().copied().filter(|id| *id < page.below).take(page.limit() as usize).collect();
            let (rows, next) = page.cut(rows, |id| *id);
            seen.push(rows);
            token = next;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(seen, [vec![5, 4], vec![3, 2], vec![1]]);
    }

    #[test]
    fn what_is_no_page_of_this_list_is_told() {
        let (_, token) = page(1, "", "mine").unwrap().cut(vec![2, 1], |id| *id);
        assert_eq!(page(1, &token, "mine").unwrap().below, 2);
        for (size, token, filter, field) in [
            (-1, "", "mine", "pageSize"),
            (101, "", "mine", "pageSize"),
            (1, "?", "mine", "pageToken"),
            (1, "AAAA", "mine", "pageToken"),
            (1, &token, "yours", "pageToken"),
        ] {
            let error = page(size, token, filter).unwrap_err().to_string();
            assert!(error.starts_with(field), "{error}");
        }
    }
}
