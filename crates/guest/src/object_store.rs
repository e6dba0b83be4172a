//! Objects in the stores that the task was granted. Keys are relative to the grant.

mod error;
mod listing;
mod stream;

use crate::AnnouncedObject;
use crate::bindings::wasmrun::task::object_store as raw;
use error::OPEN;

pub use error::{Error, ErrorKind};
pub use listing::Listing;
pub use raw::{Condition, Object, ObjectInfo, ObjectPage, ObjectSummary};
pub use stream::{Reader, Writer};

/// A granted store.
///
/// ```no_run
/// use wasmrun_guest::{Failure, Store};
///
/// # fn run() -> Result<(), Failure> {
/// let store = Store::open("data")?;
/// store.put("greeting.txt", b"hello")?;
/// let object = store.get("greeting.txt")?;
/// assert_eq!(object.content, b"hello");
/// for object in store.list("greet") {
///     wasmrun_guest::info!("{}", object?.key);
/// }
/// store.delete("greeting.txt")?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Store {
    alias: String,
    inner: raw::Store,
}

impl Store {
    /// Opens the store with the given alias.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::AccessDenied`] if no store with this alias was granted.
    pub fn open(alias: &str) -> Result<Self, Error> {
        let inner = raw::Store::open(alias).map_err(|kind| Error::new(OPEN, alias, None, kind))?;
        Ok(Store { alias: alias.to_owned(), inner })
    }

    /// Returns the alias that the store was opened with.
    pub fn alias(&self) -> &str {
        &self.alias
    }

    /// Looks up an object's size, etag and metadata without reading its content.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if the object doesn't exist.
    pub fn head<'a>(&self, object: impl Into<ObjectRef<'a>>) -> Result<ObjectInfo, Error> {
        let ObjectRef { key, version } = object.into();
        self.inner.head(key, version).map_err(|kind| self.error("look up", key, kind))
    }

    /// Reads a whole object.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if the object doesn't exist. [`ErrorKind::TooLarge`] if the object is larger than the
    /// host returns in one call: use [`read`](Self::read) then.
    pub fn get<'a>(&self, object: impl Into<ObjectRef<'a>>) -> Result<Object, Error> {
        let ObjectRef { key, version } = object.into();
        self.inner.get(key, version).map_err(|kind| self.error("read", key, kind))
    }

    /// Reads at most `length` bytes from `offset`. Returns fewer at the end of the object, and none beyond it.
    ///
    /// # Errors
    ///
    /// Those of [`get`](Self::get), with [`ErrorKind::TooLarge`] if `length` is too large.
    pub fn get_range<'a>(
        &self,
        object: impl Into<ObjectRef<'a>>,
        offset: u64,
        length: u64,
    ) -> Result<Vec<u8>, Error> {
        let ObjectRef { key, version } = object.into();
        self.inner.get_range(key, version, offset, length).map_err(|kind| self.error("read", key, kind))
    }

    /// Opens an object of any size for reading from its start.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if the object doesn't exist.
    pub fn read<'a>(&self, object: impl Into<ObjectRef<'a>>) -> Result<Reader, Error> {
        let ObjectRef { key, version } = object.into();
        let inner = self.inner.read(key, version).map_err(|kind| self.error("read", key, kind))?;
        Ok(Reader::new(inner, &self.alias, key))
    }

    /// Writes a whole object, all or nothing, and replaces an existing one. When it returns, the object is durable. Use
    /// [`new_object`](Self::new_object) to set a content type, a cache control, metadata or a condition.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::AccessDenied`] if the store is granted read-only, [`ErrorKind::TooLarge`] if the content exceeds a
    /// limit.
    pub fn put(&self, key: &str, content: &[u8]) -> Result<ObjectInfo, Error> {
        self.new_object(key).put(content)
    }

    /// Begins to write an object of any size, all or nothing. It replaces an existing one. Use
    /// [`new_object`](Self::new_object) to set a content type, a cache control, metadata or a condition.
    ///
    /// # Errors
    ///
    /// Those of [`put`](Self::put).
    pub fn write(&self, key: &str) -> Result<Writer, Error> {
        self.new_object(key).write()
    }

    /// Prepares an object to write, with a content type, a cache control, metadata or a condition.
    ///
    /// ```no_run
    /// # fn run(store: &wasmrun_guest::Store) -> Result<(), wasmrun_guest::Failure> {
    /// store.new_object("a.txt").content_type("text/plain").if_absent().put(b"hello")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn new_object<'a>(&'a self, key: &'a str) -> NewObject<'a> {
        let options = raw::PutOptions {
            content_type: None,
            cache_control: None,
            metadata: Vec::new(),
            condition: Condition::Always,
        };
        NewObject { store: self, key, options }
    }

    /// Lists the objects whose keys start with `prefix`, in the order of the keys' bytes. Fetches pages as they are
    /// needed.
    pub fn list(&self, prefix: &str) -> Listing<'_> {
        Listing::new(self, prefix)
    }

    /// Returns one page of a listing: at most `limit` objects, and at most 1,000. The page begins where the page that
    /// returned `continuation` ended.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::AccessDenied`] if the store is granted write-only.
    pub fn list_page(
        &self,
        prefix: &str,
        continuation: Option<&str>,
        limit: u32,
    ) -> Result<ObjectPage, Error> {
        self.inner.list_objects(prefix, continuation, limit).map_err(|kind| {
            Error::new("list", &self.alias, Some(prefix).filter(|prefix| !prefix.is_empty()), kind)
        })
    }

    /// Deletes an object. Also succeeds if the object doesn't exist.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::AccessDenied`] if the store is granted read-only.
    pub fn delete(&self, key: &str) -> Result<(), Error> {
        self.inner.delete(key).map_err(|kind| self.error("delete", key, kind))
    }

    /// Copies an object with its content type, cache control and metadata, within the stores' service where that is possible.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if the object doesn't exist, [`ErrorKind::PreconditionFailed`] if the condition on the
    /// target doesn't hold.
    pub fn copy<'a>(
        &self,
        object: impl Into<ObjectRef<'a>>,
        to: &Store,
        to_key: &str,
        condition: Condition,
    ) -> Result<ObjectInfo, Error> {
        let ObjectRef { key, version } = object.into();
        self.inner
            .copy(key, version, &to.inner, to_key, &condition)
            .map_err(|kind| self.error("copy", key, kind))
    }

    fn error(&self, action: &'static str, key: &str, kind: ErrorKind) -> Error {
        Error::new(action, &self.alias, Some(key), kind)
    }
}

/// The object to read: a key, a key and a version, or an object that a message announced.
#[derive(Clone, Copy, Debug)]
pub struct ObjectRef<'a> {
    /// The object's key, relative to the store.
    pub key: &'a str,
    /// The version to read. `None` is the current one.
    pub version: Option<&'a str>,
}

impl<'a> From<&'a str> for ObjectRef<'a> {
    fn from(key: &'a str) -> Self {
        ObjectRef { key, version: None }
    }
}

impl<'a> From<&'a String> for ObjectRef<'a> {
    fn from(key: &'a String) -> Self {
        ObjectRef { key, version: None }
    }
}

impl<'a> From<(&'a str, &'a str)> for ObjectRef<'a> {
    fn from((key, version): (&'a str, &'a str)) -> Self {
        ObjectRef { key, version: Some(version) }
    }
}

impl<'a> From<&'a AnnouncedObject> for ObjectRef<'a> {
    fn from(object: &'a AnnouncedObject) -> Self {
        ObjectRef { key: &object.key, version: object.version.as_deref() }
    }
}

/// An object to write. Nothing is written before [`put`](Self::put) or [`write`](Self::write).
#[derive(Debug)]
#[must_use = "call `put` or `write` to write the object"]
pub struct NewObject<'a> {
    store: &'a Store,
    key: &'a str,
    options: raw::PutOptions,
}

impl NewObject<'_> {
    /// Sets the content type, such as `image/jpeg`.
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.options.content_type = Some(content_type.into());
        self
    }

    /// Sets the value of the header `Cache-Control` with which the object is served, such as `public, max-age=3600`.
    pub fn cache_control(mut self, cache_control: impl Into<String>) -> Self {
        self.options.cache_control = Some(cache_control.into());
        self
    }

    /// Adds a name and a value to the object's metadata.
    pub fn metadata(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.metadata.push((name.into(), value.into()));
        self
    }

    /// Sets the content type, the cache control and the metadata to those of another object.
    pub fn like(mut self, other: &ObjectInfo) -> Self {
        self.options.content_type.clone_from(&other.content_type);
        self.options.cache_control.clone_from(&other.cache_control);
        self.options.metadata.clone_from(&other.metadata);
        self
    }

    /// Writes only if no object has this key.
    pub fn if_absent(mut self) -> Self {
        self.options.condition = Condition::IfAbsent;
        self
    }

    /// Writes only if the object's etag is `etag`.
    pub fn if_match(mut self, etag: impl Into<String>) -> Self {
        self.options.condition = Condition::IfMatch(etag.into());
        self
    }

    /// Writes the whole object, all or nothing. When it returns, the object is durable.
    ///
    /// # Errors
    ///
    /// Those of [`Store::put`], and [`ErrorKind::PreconditionFailed`] if the condition doesn't hold.
    pub fn put(self, content: &[u8]) -> Result<ObjectInfo, Error> {
        let Self { store, key, options } = self;
        store.inner.put(key, content, &options).map_err(|kind| store.error("write", key, kind))
    }

    /// Begins to write an object of any size, all or nothing.
    ///
    /// # Errors
    ///
    /// Those of [`put`](Self::put).
    pub fn write(self) -> Result<Writer, Error> {
        let Self { store, key, options } = self;
        let inner = store.inner.write(key, &options).map_err(|kind| store.error("write", key, kind))?;
        Ok(Writer::new(inner, &store.alias, key))
    }
}
