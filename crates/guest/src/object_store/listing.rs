//! A listing as an iterator over its pages.

use std::iter::FusedIterator;
use std::vec;

use super::{Error, ObjectSummary, Store};

/// Maximum number of objects that the host returns on one page.
const MAX_PAGE: u32 = 1000;

/// The objects of a store whose keys start with a prefix: see [`Store::list`].
#[derive(Debug)]
pub struct Listing<'a> {
    store: &'a Store,
    prefix: String,
    page_size: u32,
    page: vec::IntoIter<ObjectSummary>,
    next: Next,
}

#[derive(Debug)]
enum Next {
    FirstPage,
    Page(String),
    End,
}

impl<'a> Listing<'a> {
    pub(super) fn new(store: &'a Store, prefix: &str) -> Self {
        Listing {
            store,
            prefix: prefix.to_owned(),
            page_size: MAX_PAGE,
            page: Vec::new().into_iter(),
            next: Next::FirstPage,
        }
    }

    /// Sets the number of objects to fetch in one call: 1 to 1,000. Use fewer in a task with little memory.
    #[must_use]
    pub fn page_size(mut self, objects: u32) -> Self {
        self.page_size = objects.clamp(1, MAX_PAGE);
        self
    }
}

impl Iterator for Listing<'_> {
    type Item = Result<ObjectSummary, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(object) = self.page.next() {
                return Some(Ok(object));
            }
            // A listing can't continue after an error, so it ends there.
            let continuation = match std::mem::replace(&mut self.next, Next::End) {
                Next::FirstPage => None,
                Next::Page(continuation) => Some(continuation),
                Next::End => return None,
            };
            match self.store.list_page(&self.prefix, continuation.as_deref(), self.page_size) {
                Ok(page) => {
                    self.page = page.objects.into_iter();
                    self.next = page.continuation.map_or(Next::End, Next::Page);
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl FusedIterator for Listing<'_> {}
