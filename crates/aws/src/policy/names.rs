//! Names in policies: of regions, partitions and statements, and texts that match only themselves.

/// Checks the name of a region or a partition.
pub(super) fn is_name(text: &str) -> Result<(), String> {
    let is_name = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    is_name.then_some(()).ok_or_else(|| format!("{text:?} is neither a region nor a partition"))
}

/// Returns the partition of a region ("Amazon Resource Names" in the IAM user guide).
pub fn partition(region: &str) -> &'static str {
    match region {
        _ if region.starts_with("cn-") => "aws-cn",
        _ if region.starts_with("us-gov-") => "aws-us-gov",
        _ if region.starts_with("eusc-") => "aws-eusc",
        _ if region.starts_with("eu-isoe-") => "aws-iso-e",
        _ if region.starts_with("us-isob-") => "aws-iso-b",
        _ if region.starts_with("us-isof-") => "aws-iso-f",
        _ if region.starts_with("us-iso-") => "aws-iso",
        _ => "aws",
    }
}

/// Returns the domain of Amazon's own hosts in a region, such as those of ECR ("AWS service endpoints" in the general
/// reference, and the rule sets of the SDKs).
pub fn domain(region: &str) -> &'static str {
    match partition(region) {
        "aws-cn" => "amazonaws.com.cn",
        "aws-eusc" => "amazonaws.eu",
        "aws-iso" => "c2s.ic.gov",
        "aws-iso-b" => "sc2s.sgov.gov",
        "aws-iso-e" => "cloud.adc-e.uk",
        "aws-iso-f" => "csp.hci.ic.gov",
        _ => "amazonaws.com",
    }
}

/// Escapes the wildcards and variables of the policy language, so that a text matches only itself.
pub(super) fn literal(text: &str) -> String {
    text.chars().fold(String::new(), |mut literal, c| {
        match c {
            '*' | '?' | '$' => literal.extend(["${", c.encode_utf8(&mut [0; 4]), "}"]),
            c => literal.push(c),
        }
        literal
    })
}

/// Returns the `Sid` of a statement, which can hold only letters and digits.
pub(super) fn sid(verb: &str, alias: &str) -> String {
    let words = alias.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.fold(verb.to_owned(), |sid, word| sid + &word[..1].to_ascii_uppercase() + &word[1..])
}
