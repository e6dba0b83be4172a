//! `wasi:keyvalue` over the granted buckets, in the two drafts that toolchains and other hosts use: 0.2.0-draft
//! (wasmtime, wasmCloud) and 0.2.0-draft2 (Spin). They differ in the cursor of a listing, and only the second has
//! negative increments and compare-and-swap.

mod calls;

pub use self::calls::{BucketHandle, CasHandle};
use self::calls::{Error, Swapped, answer};
use super::TaskState;
use wasmtime::Result;
use wasmtime::component::{HasSelf, Linker, Resource};

mod draft {
    wasmtime::component::bindgen!({
        path: "worlds/wasi-keyvalue-draft",
        world: "imports",
        imports: { default: async | trappable },
        with: { "wasi:keyvalue/store.bucket": super::BucketHandle },
    });
}

mod draft2 {
    wasmtime::component::bindgen!({
        path: "worlds/wasi-keyvalue-draft2",
        world: "imports",
        imports: { default: async | trappable },
        with: {
            "wasi:keyvalue/store.bucket": super::BucketHandle,
            "wasi:keyvalue/atomics.cas": super::CasHandle,
        },
    });
}

/// The interfaces that the host implements.
pub(crate) const NAMES: [&str; 6] = [
    "wasi:keyvalue/store@0.2.0-draft2",
    "wasi:keyvalue/atomics@0.2.0-draft2",
    "wasi:keyvalue/batch@0.2.0-draft2",
    "wasi:keyvalue/store@0.2.0-draft",
    "wasi:keyvalue/atomics@0.2.0-draft",
    "wasi:keyvalue/batch@0.2.0-draft",
];

pub(super) fn add_to_linker(linker: &mut Linker<TaskState>) -> Result<()> {
    draft::Imports::add_to_linker::<_, HasSelf<_>>(linker, TaskState::called)?;
    draft2::Imports::add_to_linker::<_, HasSelf<_>>(linker, TaskState::called)
}

/// Implements what both drafts have. `$cursor` is the type of a listing's cursor.
macro_rules! interfaces {
    ($draft:ident, $cursor:ty) => {
        const _: () = {
            use self::$draft::wasi::keyvalue::{batch, store};

            impl From<Error> for store::Error {
                fn from(error: Error) -> Self {
                    match error {
                        Error::AccessDenied => Self::AccessDenied,
                        Error::Changed => Self::Other("the value has changed".into()),
                        Error::Other(text) => Self::Other(text),
                    }
                }
            }

            impl store::Host for TaskState {
                async fn open(
                    &mut self,
                    identifier: String,
                ) -> Result<Result<Resource<BucketHandle>, store::Error>> {
                    answer(self.open_bucket(&identifier))
                }
            }

            impl store::HostBucket for TaskState {
                async fn get(
                    &mut self,
                    this: Resource<BucketHandle>,
                    key: String,
                ) -> Result<Result<Option<Vec<u8>>, store::Error>> {
                    answer(self.value(&this, key).await)
                }

                async fn set(
                    &mut self,
                    this: Resource<BucketHandle>,
                    key: String,
                    value: Vec<u8>,
                ) -> Result<Result<(), store::Error>> {
                    answer(self.set_values(&this, vec![(key, value)]).await)
                }

                async fn delete(
                    &mut self,
                    this: Resource<BucketHandle>,
                    key: String,
                ) -> Result<Result<(), store::Error>> {
                    answer(self.delete_keys(&this, vec![key]).await)
                }

                async fn exists(
                    &mut self,
                    this: Resource<BucketHandle>,
                    key: String,
                ) -> Result<Result<bool, store::Error>> {
                    answer(self.key_exists(&this, key).await)
                }

                async fn list_keys(
                    &mut self,
                    this: Resource<BucketHandle>,
                    cursor: Option<$cursor>,
                ) -> Result<Result<store::KeyResponse, store::Error>> {
                    let cursor = cursor.map(|cursor| cursor.to_string());
                    let page = self.list_keys_after(&this, cursor.as_deref()).await.map(|page| {
                        store::KeyResponse { keys: page.keys, cursor: page.next.map(<$cursor>::from_number) }
                    });
                    answer(page)
                }

                async fn drop(&mut self, this: Resource<BucketHandle>) -> Result<()> {
                    self.table.delete(this)?;
                    Ok(())
                }
            }

            impl batch::Host for TaskState {
                async fn get_many(
                    &mut self,
                    this: Resource<BucketHandle>,
                    keys: Vec<String>,
                ) -> Result<Result<Vec<Option<(String, Vec<u8>)>>, store::Error>> {
                    answer(self.values(&this, keys).await)
                }

                async fn set_many(
                    &mut self,
                    this: Resource<BucketHandle>,
                    entries: Vec<(String, Vec<u8>)>,
                ) -> Result<Result<(), store::Error>> {
                    answer(self.set_values(&this, entries).await)
                }

                async fn delete_many(
                    &mut self,
                    this: Resource<BucketHandle>,
                    keys: Vec<String>,
                ) -> Result<Result<(), store::Error>> {
                    answer(self.delete_keys(&this, keys).await)
                }
            }
        };
    };
}

interfaces!(draft, u64);
interfaces!(draft2, String);

/// A cursor of a listing, as a draft has it.
trait Cursor {
    fn from_number(number: u64) -> Self;
}

impl Cursor for u64 {
    fn from_number(number: u64) -> Self {
        number
    }
}

impl Cursor for String {
    fn from_number(number: u64) -> Self {
        number.to_string()
    }
}

impl draft::wasi::keyvalue::atomics::Host for TaskState {
    async fn increment(
        &mut self,
        this: Resource<BucketHandle>,
        key: String,
        delta: u64,
    ) -> Result<Result<u64, draft::wasi::keyvalue::store::Error>> {
        answer(self.increment_unsigned(&this, key, delta).await)
    }
}

impl draft2::wasi::keyvalue::atomics::Host for TaskState {
    async fn increment(
        &mut self,
        this: Resource<BucketHandle>,
        key: String,
        delta: i64,
    ) -> Result<Result<i64, draft2::wasi::keyvalue::store::Error>> {
        answer(self.increment_by(&this, key, delta).await)
    }

    async fn swap(
        &mut self,
        cas: Resource<CasHandle>,
        value: Vec<u8>,
    ) -> Result<Result<(), draft2::wasi::keyvalue::atomics::CasError>> {
        use draft2::wasi::keyvalue::atomics::CasError;
        Ok(match answer(self.swap_value(cas, value).await)? {
            Ok(Swapped::Done) => Ok(()),
            Ok(Swapped::Changed(cas)) => Err(CasError::CasFailed(cas)),
            Err(error) => Err(CasError::StoreError(error)),
        })
    }
}

impl draft2::wasi::keyvalue::atomics::HostCas for TaskState {
    async fn new(
        &mut self,
        this: Resource<BucketHandle>,
        key: String,
    ) -> Result<Result<Resource<CasHandle>, draft2::wasi::keyvalue::store::Error>> {
        answer(self.new_cas(&this, key).await)
    }

    async fn current(
        &mut self,
        cas: Resource<CasHandle>,
    ) -> Result<Result<Option<Vec<u8>>, draft2::wasi::keyvalue::store::Error>> {
        answer(self.current_value(&cas).await)
    }

    async fn drop(&mut self, cas: Resource<CasHandle>) -> Result<()> {
        self.table.delete(cas)?;
        Ok(())
    }
}
