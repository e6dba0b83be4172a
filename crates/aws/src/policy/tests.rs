use super::*;

const QUEUE: &str = "https://sqs.eu-west-1.amazonaws.com/123456789012/uploads";

fn statements(permissions: &Permissions) -> Vec<Value> {
    let policy: Value = serde_json::from_str(&permissions.to_json()).expect("JSON");
    assert_eq!(policy["Version"], LANGUAGE);
    policy["Statement"].as_array().expect("statements").clone()
}

#[test]
fn a_worker_may_receive_and_settle_and_nothing_else_of_its_queue() {
    let mut permissions = Permissions::new(None);
    permissions.work_on(QUEUE).expect("known");
    let all = statements(&permissions);
    assert_eq!(
        all,
        [json!({
            "Sid": "Queue",
            "Effect": "Allow",
            "Action": ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"],
            "Resource": "arn:aws:sqs:eu-west-1:123456789012:uploads"
        })]
    );
}

#[test]
fn a_component_in_ecr_may_be_pulled_from_its_repository_alone() {
    for (host, partition, region) in [
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", "aws", "eu-west-1"),
        ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", "aws-cn", "cn-north-1"),
    ] {
        let mut permissions = Permissions::new(None);
        permissions.pull(&EcrRegistry::of(host).expect("a registry"), "team/thumbnail");
        let [password, component] = &statements(&permissions)[..] else { panic!("two statements") };
        assert_eq!(password["Action"], json!(["ecr:GetAuthorizationToken"]));
        assert_eq!(password["Resource"], "*");
        assert_eq!(component["Action"], json!(["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]));
        let arn = format!("arn:{partition}:ecr:{region}:123456789012:repository/team/thumbnail");
        assert_eq!(component["Resource"], arn);
    }
}

#[test]
fn a_queue_that_has_to_be_looked_up_may_be() {
    let mut permissions = Permissions::new(None);
    permissions.send_to("next-one", "arn:aws-cn:sqs:cn-north-1:123456789012:next").expect("known");
    let [send] = &statements(&permissions)[..] else { panic!("one statement") };
    assert_eq!(send["Sid"], "SendNextOne");
    assert_eq!(send["Action"], json!(["sqs:GetQueueUrl", "sqs:SendMessage"]));
    assert_eq!(send["Resource"], "arn:aws-cn:sqs:cn-north-1:123456789012:next");
}

#[test]
fn what_an_address_leaves_out_is_asked_for() {
    let mut permissions = Permissions::new(None);
    let error = permissions.work_on("http://localhost:4566/000000000000/q").expect_err("no region");
    assert!(error.contains("AWS_REGION"), "{error}");
    let mut permissions = Permissions::new(Some("eu-west-1".into()));
    permissions.work_on("http://localhost:4566/000000000000/q").expect("known");
    let error = permissions.work_on("uploads").expect_err("no account");
    assert!(error.contains("ARN"), "{error}");
}

#[test]
fn an_address_with_a_wildcard_gives_no_rights() {
    let mut permissions = Permissions::new(None);
    for queue in [
        "https://sqs.eu-west-1.amazonaws.com/*/uploads",
        "arn:aws:sqs:*:*:uploads",
        "arn:*:sqs:eu-west-1:123456789012:uploads",
        "arn:aws:sqs:eu-west-1:*:uploads",
    ] {
        permissions.work_on(queue).expect_err(queue);
    }
    for settings in ["kms-key=*", "kms-key=x:y", "kms-key=abc&region=*"] {
        let url = format!("s3://photos?encryption=kms&{settings}");
        permissions.use_store("in", &url, &Scope::All, Mode::ReadOnly).expect_err(settings);
    }
    let mut sovereign = Permissions::new(None);
    sovereign.work_on("arn:aws-eusc:sqs:eusc-de-east-1:123456789012:uploads").expect("known");
    assert_eq!(statements(&sovereign)[0]["Resource"], "arn:aws-eusc:sqs:eusc-de-east-1:123456789012:uploads");
}

#[test]
fn a_store_is_used_below_its_prefix_and_as_its_mode_says() {
    let mut permissions = Permissions::new(None);
    permissions.use_store("in", "s3://photos", &Scope::All, Mode::ReadOnly).expect("valid");
    permissions
        .use_store("out", "s3://thumbs/small?acl=private", &Scope::All, Mode::WriteOnly)
        .expect("valid");
    let all = statements(&permissions);
    let said: Vec<_> = all.iter().map(|s| (s["Sid"].clone(), s["Resource"].clone())).collect();
    let expected = [
        ("ReadIn", "arn:aws:s3:::photos/*"),
        ("ListIn", "arn:aws:s3:::photos"),
        ("WriteOut", "arn:aws:s3:::thumbs/small/*"),
    ];
    assert_eq!(said, expected.map(|(sid, resource)| (json!(sid), json!(resource))));
    assert!(all[2]["Action"].to_string().contains("PutObjectAcl"));
    let mut below = Permissions::new(None);
    below.use_store("in", "s3://photos/2026", &Scope::All, Mode::ReadWrite).expect("valid");
    let list = &statements(&below)[1];
    assert_eq!((&list["Resource"], &list["Condition"]), (&json!("arn:aws:s3:::photos"), &Value::Null));
}

#[test]
fn a_ledger_may_be_written_and_swept_below_its_prefix() {
    let mut permissions = Permissions::new(None);
    permissions.keep_ledger("s3://ledgers/uploads").expect("valid");
    let [objects, list] = &statements(&permissions)[..] else { panic!("two statements") };
    assert_eq!(objects["Resource"], "arn:aws:s3:::ledgers/uploads/*");
    let actions = ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"];
    assert_eq!(objects["Action"], json!(actions));
    assert_eq!(
        (&list["Action"], &list["Resource"]),
        (&json!(["s3:ListBucket"]), &json!("arn:aws:s3:::ledgers"))
    );
}

#[test]
fn what_workers_share_is_written_with_its_acl() {
    for (url, sets_acl) in [("s3://shared/b", false), ("s3://shared/b?acl=bucket-owner-full-control", true)] {
        let mut permissions = Permissions::new(None);
        permissions.share_objects("Budgets", url).expect("valid");
        let actions = statements(&permissions)[0]["Action"].to_string();
        assert!(actions.contains("\"s3:PutObject\""), "{actions}");
        assert_eq!(actions.contains("s3:PutObjectAcl"), sets_acl, "{url}: {actions}");
    }
}

#[test]
fn a_store_by_key_names_the_parts_of_all_keys() {
    let scope = Scope::EachKey { below: "in/".into() };
    let mut permissions = Permissions::new(None);
    permissions.use_store("in", "s3://photos/t", &scope, Mode::ReadWrite).expect("valid");
    let resources: Vec<_> = statements(&permissions).iter().map(|one| one["Resource"].clone()).collect();
    let objects = "arn:aws:s3:::photos/t/*/in/*";
    assert_eq!(resources, [objects, "arn:aws:s3:::photos", objects]);
    let mut of_role = Permissions::new(None).of_sessions();
    of_role.use_store("in", "s3://photos/t", &scope, Mode::ReadOnly).expect("valid");
    let objects = "arn:aws:s3:::photos/t/${aws:PrincipalTag/wasmrun-key}/in/*";
    assert_eq!(statements(&of_role)[0]["Resource"], objects);
    let mut worker = Permissions::new(None);
    worker.assume("in", "arn:aws:iam::123456789012:role/tenants", true);
    assert_eq!(statements(&worker)[0]["Action"], json!(["sts:AssumeRole", "sts:TagSession"]));
}

#[test]
fn the_objects_of_an_access_point_are_named_by_its_arn() {
    let arn = "arn:aws:s3:eu-west-1:123456789012:accesspoint/photos";
    let mut permissions = Permissions::new(None);
    permissions
        .use_store("in", &format!("s3://{arn}/new?bucket=photos-in"), &Scope::All, Mode::ReadOnly)
        .expect("valid");
    let all = statements(&permissions);
    assert_eq!(all[0]["Resource"], format!("{arn}/object/new/*"));
    assert_eq!((&all[1]["Action"], &all[1]["Resource"]), (&json!(["s3:ListBucket"]), &json!(arn)));
    let alias = "s3://photos-abcdef123-s3alias";
    let error = permissions.use_store("in", alias, &Scope::All, Mode::ReadOnly).expect_err("not known");
    assert!(error.contains("s3://arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME"), "{error}");
}

#[test]
fn a_directory_bucket_is_used_in_sessions() {
    let mut permissions = Permissions::new(Some("us-west-2".into()));
    for (alias, mode) in [("in", Mode::ReadOnly), ("out", Mode::ReadWrite)] {
        permissions.use_store(alias, "s3://photos--usw2-az1--x-s3/new", &Scope::All, mode).expect("valid");
    }
    let all = statements(&permissions);
    assert_eq!(all.len(), 2);
    for statement in all {
        assert_eq!(statement["Action"], json!(["s3express:CreateSession"]));
        let bucket = "arn:aws:s3express:us-west-2:*:bucket/photos--usw2-az1--x-s3";
        assert_eq!(statement["Resource"], bucket);
    }
}

#[test]
fn a_key_may_be_used_as_far_as_the_store_is() {
    let key = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd";
    let mut permissions = Permissions::new(Some("eu-west-1".into()));
    let url = |key: &str| format!("s3://photos?encryption=kms&kms-key={key}");
    permissions.use_store("in", &url(key), &Scope::All, Mode::ReadOnly).expect("valid");
    permissions.use_store("out", &url("alias/thumbs"), &Scope::All, Mode::WriteOnly).expect("valid");
    let all = statements(&permissions);
    let keys: Vec<_> = all.iter().filter(|s| s["Sid"].to_string().contains("Key")).collect();
    assert_eq!(keys[0]["Action"], json!(["kms:Decrypt"]));
    assert_eq!(keys[0]["Resource"], key);
    assert_eq!(keys[1]["Action"], json!(["kms:Decrypt", "kms:GenerateDataKey"]));
    assert_eq!(keys[1]["Resource"], "arn:aws:kms:eu-west-1:*:key/*");
    assert!(keys[1]["Condition"].to_string().contains("alias/thumbs"));
}

#[test]
fn statements_have_names_of_their_own() {
    let mut permissions = Permissions::new(None);
    for alias in ["a-b", "aB", "a_b"] {
        permissions.send_to(alias, QUEUE).expect("known");
    }
    let mut sids: Vec<_> = statements(&permissions).iter().map(|s| s["Sid"].to_string()).collect();
    sids.dedup();
    assert_eq!(sids.len(), 3, "{sids:?}");
}

#[test]
fn a_key_with_a_wildcard_is_that_key_alone() {
    let mut permissions = Permissions::new(None);
    permissions.fetch("s3://components/a*b$.wasm").expect("valid");
    assert_eq!(statements(&permissions)[0]["Resource"], "arn:aws:s3:::components/a${*}b${$}.wasm");
}

#[test]
fn a_component_is_one_object() {
    let mut permissions = Permissions::new(None);
    permissions.fetch("s3://components/a/thumbnail.wasm?version=v1").expect("valid");
    let [statement] = &statements(&permissions)[..] else { panic!("one statement") };
    assert_eq!(statement["Action"], json!(["s3:GetObjectVersion"]));
    assert_eq!(statement["Resource"], "arn:aws:s3:::components/a/thumbnail.wasm");
}
