//! Host functions with which a guest reads its message.

use super::bindings::wasmrun::task::message::{
    AnnouncedObject, Attribute, AttributeValue, Change, Host, HostMessage,
};
use super::milliseconds;
use crate::model::event;
use crate::model::message as runtime;
use crate::task::store::{Delivered, TaskState};
use std::sync::Arc;
use wasmtime::Result;
use wasmtime::component::Resource;

/// A guest's handle to its message.
pub struct MessageHandle(pub(crate) Arc<Delivered>);

impl Host for TaskState {}

impl TaskState {
    fn delivered(&self, handle: &Resource<MessageHandle>) -> Result<&Delivered> {
        Ok(&self.table.get(handle)?.0)
    }
}

impl HostMessage for TaskState {
    fn id(&mut self, this: Resource<MessageHandle>) -> Result<String> {
        Ok(self.delivered(&this)?.message.id.clone())
    }

    fn body(&mut self, this: Resource<MessageHandle>) -> Result<String> {
        Ok(self.delivered(&this)?.body().to_owned())
    }

    fn attributes(&mut self, this: Resource<MessageHandle>) -> Result<Vec<Attribute>> {
        Ok(self.delivered(&this)?.message.attributes.iter().map(Attribute::from).collect())
    }

    fn receive_count(&mut self, this: Resource<MessageHandle>) -> Result<u32> {
        Ok(self.delivered(&this)?.message.receive_count)
    }

    fn sent_at(&mut self, this: Resource<MessageHandle>) -> Result<u64> {
        Ok(milliseconds(self.delivered(&this)?.message.sent_at))
    }

    fn group(&mut self, this: Resource<MessageHandle>) -> Result<Option<String>> {
        Ok(self.delivered(&this)?.message.group.clone())
    }

    fn objects(&mut self, this: Resource<MessageHandle>) -> Result<Vec<AnnouncedObject>> {
        let objects = self.delivered(&this)?.objects.iter();
        Ok(objects
            .map(|object| AnnouncedObject {
                store: object.alias.clone(),
                key: object.key.clone(),
                version: object.version.clone(),
                etag: object.etag.clone(),
                size: object.size,
                change: match object.change {
                    event::Change::Created => Change::Created,
                    event::Change::Removed => Change::Removed,
                    event::Change::Other => Change::Other,
                },
                sequencer: object.sequencer.clone(),
            })
            .collect())
    }

    fn drop(&mut self, this: Resource<MessageHandle>) -> Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl From<&runtime::Attribute> for Attribute {
    fn from(attribute: &runtime::Attribute) -> Self {
        Self {
            name: attribute.name.clone(),
            value: match &attribute.value {
                runtime::AttributeValue::Text(text) | runtime::AttributeValue::Number(text) => {
                    AttributeValue::Text(text.clone())
                }
                runtime::AttributeValue::Binary(bytes) => AttributeValue::Binary(bytes.clone()),
            },
        }
    }
}

impl From<Attribute> for runtime::Attribute {
    fn from(attribute: Attribute) -> Self {
        Self {
            name: attribute.name,
            value: match attribute.value {
                AttributeValue::Text(text) => runtime::AttributeValue::Text(text),
                AttributeValue::Binary(bytes) => runtime::AttributeValue::Binary(bytes),
            },
        }
    }
}
