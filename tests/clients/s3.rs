//! An object store's client: botocore, with a signature and checksums of its own.

use crate::common::{Answer, Request};
use crate::python::python;
use crate::{DOWNLOAD_BYTES, UPLOAD_BYTES, inside, noise, sha256, with_site};

const CLIENT: &str = r#"
import boto3, hashlib, sys
from botocore.config import Config
config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"},
                read_timeout=200)
s3 = boto3.client("s3", endpoint_url="https://s3.good.test", region_name="eu-central-1",
                  aws_access_key_id="of-the-agent", aws_secret_access_key="its-own",
                  verify=sys.argv[2], config=config)
name = {"Bucket": "bucket", "Key": "a key+more"}
with open(sys.argv[1], "rb") as upload:
    # In pieces with a checksum behind them, once the server says 100.
    print(s3.put_object(Body=upload, **name)["ETag"])
begun = s3.create_multipart_upload(**name)["UploadId"]
with open(sys.argv[1], "rb") as upload:
    part = s3.upload_part(Body=upload.read(), PartNumber=1, UploadId=begun, **name)
print(part["ETag"])
parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
print(s3.complete_multipart_upload(UploadId=begun, MultipartUpload=parts, **name)["ETag"])
got = s3.get_object(Range="bytes=1000000-2000000", **name)
print(got["ContentRange"], hashlib.sha256(got["Body"].read()).hexdigest())
"#;

/// The server: digests what is put, and gives parts of the download.
pub fn answer(request: &Request) -> Answer {
    let query = request
        .target
        .split_once('?')
        .map_or("", |(_, query)| query);
    let signature = request.header("authorization").unwrap_or_default();
    if !signature.starts_with("AWS4-HMAC-SHA256 Credential=of-the-agent/") {
        return Answer::ok("no signature of the agent").status(403);
    }
    match (request.method.as_str(), query) {
        ("PUT", _) => {
            let digest = sha256(&object(request));
            Answer::ok("").header("etag", &format!("\"{digest}\""))
        }
        ("POST", "uploads") => Answer::ok(
            "<InitiateMultipartUploadResult><UploadId>a+b==</UploadId>\
             </InitiateMultipartUploadResult>",
        ),
        ("POST", _) => Answer::ok(
            "<CompleteMultipartUploadResult><ETag>whole</ETag></CompleteMultipartUploadResult>",
        ),
        _ => {
            assert_eq!(request.header("range"), Some("bytes=1000000-2000000"));
            Answer::ok(&noise(DOWNLOAD_BYTES, 3)[1_000_000..=2_000_000])
                .status(206)
                .header("content-range", "bytes 1000000-2000000/3000017")
        }
    }
}

/// What a body says, also where it is `aws-chunked`.
fn object(request: &Request) -> Vec<u8> {
    if request.header("content-encoding") != Some("aws-chunked") {
        return request.body.clone();
    }
    let (mut rest, mut object) = (request.body.as_slice(), Vec::new());
    loop {
        let end = crate::common::wire::find(rest, b"\r\n").unwrap();
        let line = std::str::from_utf8(&rest[..end]).unwrap();
        let size = usize::from_str_radix(line.split(';').next().unwrap(), 16).unwrap();
        if size == 0 {
            let declared = request.header("x-amz-decoded-content-length");
            assert_eq!(declared, Some(object.len().to_string().as_str()));
            return object;
        }
        object.extend(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 2 + size + 2..];
    }
}

#[test]
fn botocore_s3() {
    inside(|| {
        with_site(&["python: boto3"], |site| {
            let mut command = site.command(python().get_program());
            command
                .args(["-I", "-c", CLIENT])
                .args([&site.upload, &site.ca]);
            let output = String::from_utf8(site.stdout(command)).unwrap();
            let upload = sha256(&noise(UPLOAD_BYTES, 7));
            let part = sha256(&noise(DOWNLOAD_BYTES, 3)[1_000_000..=2_000_000]);
            let expected = format!(
                "\"{upload}\"\n\"{upload}\"\nwhole\nbytes 1000000-2000000/3000017 {part}\n"
            );
            assert_eq!(output, expected);
            let requests = site.server.requests();
            let puts = requests.iter().filter(|request| request.method == "PUT");
            for put in puts.clone() {
                assert!(put.target.starts_with("/bucket/a%20key%2Bmore"));
                assert_eq!(put.header("expect"), Some("100-continue"));
            }
            assert_eq!(puts.count(), 2);
        });
    });
}
