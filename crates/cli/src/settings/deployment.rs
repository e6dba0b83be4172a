//! Names and sizes of a worker on a platform, as the platform takes them.

use super::text::{Written, expected};
use bytesize::ByteSize;
use clap::ValueEnum;
use wasmrun_aws::is_role;

/// Defines types of texts, each with the rule that its texts follow.
macro_rules! texts {
    ($($(#[$help:meta])+ $name:ident: $form:literal, $is_valid:expr;)*) => {
        $($(#[$help])+
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub(crate) struct $name(String);

        impl $name {
            pub(crate) fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Written for $name {
            const FORM: &'static str = $form;

            fn read(text: &str) -> Result<Self, String> {
                let is_valid: fn(&str) -> bool = $is_valid;
                if is_valid(text) { Ok(Self(text.to_owned())) } else { Err(expected::<Self>()) }
            }
        })*
    };
}

texts! {
    /// Name of a worker. Kubernetes takes 63 characters for most names, and 52 where a controller adds its own part
    /// to the name of a job's pods.
    Name: "1 to 52 small letters, digits and hyphens, with a letter first and no hyphen last",
        |text| text.len() <= 52 && text.starts_with(|c: char| c.is_ascii_lowercase()) && is_label(text);
    /// Namespace in Kubernetes.
    Namespace: "1 to 63 small letters, digits and hyphens, with no hyphen first or last", |text| text.len() <= 63 && is_label(text);
    /// Reference of a container image: registry, repository, and a tag or a digest.
    Image: "an image such as 123456789012.dkr.ecr.eu-west-1.amazonaws.com/wasmrun:0.1.0", is_image;
    /// Region of AWS.
    Region: "a region such as eu-west-1", |text| text.len() <= 32 && text.contains('-') && is_label(text);
    /// ARN of a role.
    Role: "the ARN of a role, such as arn:aws:iam::123456789012:role/thumbs", |text| text.len() <= 2048 && is_role(text) && text.bytes().all(|b| b.is_ascii_graphic());
    /// Family of task definitions (RegisterTaskDefinition in the API reference of ECS).
    Family: "1 to 255 letters, digits, hyphens and underscores",
        |text| (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    /// Log group (CreateLogGroup in the API reference of CloudWatch Logs).
    LogGroup: "1 to 512 letters, digits and ._-/#",
        |text| (1..=512).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/#".contains(&b));
}

fn is_label(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

/// The characters of references, without their full grammar: what is wrong beyond them, the platform says.
fn is_image(text: &str) -> bool {
    (1..=512).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/:@".contains(&b))
}

/// Processor of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Architecture {
    Amd64,
    Arm64,
}

/// vCPUs of a container, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vcpu(pub(crate) u64);

impl Written for Vcpu {
    const FORM: &'static str = "a number of vCPUs from 0.1 to 1000, such as 0.25 or 2";

    fn read(text: &str) -> Result<Self, String> {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !are_digits(whole) || !are_digits(part) || whole.len() > 4 || part.len() > 3 {
            return Err(expected::<Self>());
        }
        let number = |text: &str| text.parse::<u64>().map_err(|_| expected::<Self>());
        let thousandths = number(whole)? * 1000 + number(&format!("{part:0<3}"))?;
        if (100..=1_000_000).contains(&thousandths) { Ok(Self(thousandths)) } else { Err(expected::<Self>()) }
    }
}

/// Memory of a container, in MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Memory(pub(crate) u64);

impl Written for Memory {
    const FORM: &'static str = "a size of 64MiB or more in whole MiB, such as 2GiB";

    fn read(text: &str) -> Result<Self, String> {
        const MIB: u64 = 1 << 20;
        let ByteSize(bytes) = ByteSize::read(text).map_err(|_| expected::<Self>())?;
        let is_allowed = bytes.is_multiple_of(MIB) && (64..=(16 << 20)).contains(&(bytes / MIB));
        if is_allowed { Ok(Self(bytes / MIB)) } else { Err(expected::<Self>()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_platform_would_refuse_or_read_otherwise_are_refused() {
        let long = "x".repeat(53);
        for text in ["", "-a", "a-", "1a", "A", "a b", "a\nb", "a: b", "{{ a }}", "ä", "a.b", &long] {
            assert!(Name::read(text).is_err(), "{text:?}");
        }
        assert!(Name::read("thumbs-2").is_ok());
        for text in ["", ":1", "a:", "a b", "a\n", "$(A)", "{{a}}", "\"a\"", "a#b"] {
            assert!(Image::read(text).is_err(), "{text:?}");
        }
        for text in ["a", "localhost:5000/a/b_c:1.0-x", "r.example/a@sha256:0123"] {
            assert!(Image::read(text).is_ok(), "{text}");
        }
        for text in ["", "west", "eu-west-1\n", "eu_west-1", "EU-west-1"] {
            assert!(Region::read(text).is_err(), "{text:?}");
        }
        for text in ["arn:aws:iam::1:role/x", "arn:aws:iam::123456789012:role/a b", "role"] {
            assert!(Role::read(text).is_err(), "{text:?}");
        }
        assert!(Family::read("a b").is_err() && LogGroup::read("/a:b").is_err());
    }

    #[test]
    fn vcpus_and_memory_are_whole_thousandths_and_whole_mib() {
        for (text, thousandths) in [("1", 1000), ("0.25", 250), ("0.1", 100), ("16", 16_000), ("1.125", 1125)]
        {
            assert_eq!(Vcpu::read(text), Ok(Vcpu(thousandths)), "{text}");
        }
        for text in ["", "0", ".5", "1.", "-1", "0.05", "1e3", "1.0001", "99999", "500m"] {
            assert!(Vcpu::read(text).is_err(), "{text}");
        }
        assert_eq!(Memory::read("2GiB"), Ok(Memory(2048)));
        for text in ["1MiB", "0", "2GB", "1000000000000GiB", "x"] {
            assert!(Memory::read(text).is_err(), "{text}");
        }
    }
}
