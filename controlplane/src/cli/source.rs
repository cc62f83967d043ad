//! Where manifests come from: files, folders, https addresses and standard input, to texts.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{Request, Uri, header};
use http_body_util::{BodyExt, Limited};
use kube::client::Body;
use kube::{Client, Config};

use super::error::Error;

/// The longest that is read from an address.
const LIMIT: usize = 8 << 20;
/// How long an address may take in all.
const DEADLINE: Duration = Duration::from_secs(30);
/// Addresses that may point on to another before the last.
const REDIRECTS: usize = 5;

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The file, address or stream it came from.
    pub place: String,
    /// Its content.
    pub text: String,
}

/// Reads each of `sources`: a file, a folder (its `*.yaml`, `*.yml`, `*.json` by name; with `recursive` those of its folders too), an https address, or
/// `-` for standard input.
///
/// # Errors
/// The first that cannot be read.
pub async fn read(sources: &[PathBuf], recursive: bool) -> Result<Vec<Text>, Error> {
    let mut texts = Vec::new();
    for source in sources {
        if source == Path::new("-") {
            let mut text = String::new();
            let read = std::io::stdin().read_to_string(&mut text);
            read.map_err(|source| Error::Read { path: "standard input".into(), source })?;
            texts.push(Text { place: "standard input".into(), text });
        } else if let Some(address) = address(source) {
            let text = fetch(address).await?;
            texts.push(Text { place: address.to_owned(), text });
        } else {
            for file in files(source, recursive)? {
                let place = file.display().to_string();
                let text = std::fs::read_to_string(&file);
                let text = text.map_err(|source| Error::Read { path: place.clone(), source })?;
                texts.push(Text { place, text });
            }
        }
    }
    if texts.is_empty() {
        let files = sources.iter().map(|source| source.display().to_string()).collect::<Vec<_>>().join(", ");
        return Err(Error::Nothing { files });
    }
    Ok(texts)
}

fn address(source: &Path) -> Option<&str> {
    source.to_str().filter(|text| text.starts_with("https://") || text.starts_with("http://"))
}

fn files(source: &Path, recursive: bool) -> Result<Vec<PathBuf>, Error> {
    let failed = |error| Error::Read { path: source.display().to_string(), source: error };
    if !std::fs::metadata(source).map_err(failed)?.is_dir() {
        return Ok(vec![source.to_owned()]);
    }
    let entries = std::fs::read_dir(source).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(failed)?;
    let mut paths = Vec::new();
    for entry in entries {
        // A link to a folder is not followed: it may lead back here.
        let folder = entry.file_type().map_err(failed)?.is_dir();
        paths.push((entry.path(), folder));
    }
    paths.sort();
    let mut files = Vec::new();
    for (path, folder) in paths {
        if folder && recursive {
            files.extend(self::files(&path, recursive)?);
        } else if path.is_file() && manifest(&path) {
            files.push(path);
        }
    }
    Ok(files)
}

fn manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known))
}

async fn fetch(address: &str) -> Result<String, Error> {
    let failed = |problem: String| Error::Fetch { address: address.to_owned(), problem };
    match tokio::time::timeout(DEADLINE, follow(address)).await {
        Ok(answer) => answer.map_err(failed),
        Err(_) => Err(failed(format!("no whole answer within {} s", DEADLINE.as_secs()))),
    }
}

/// Asks the address, and those it points on to.
async fn follow(address: &str) -> Result<String, String> {
    let mut uri: Uri = address.parse().map_err(|error| format!("not an address: {error}"))?;
    for _ in 0..=REDIRECTS {
        let response = ask(&uri).await?;
        let code = response.status();
        let on = response.headers().get(header::LOCATION).and_then(|on| on.to_str().ok());
        if let Some(on) = on.filter(|_| code.is_redirection()) {
            uri = join(&uri, on)?;
            continue;
        }
        if !code.is_success() {
            return Err(format!("the answer is {code}"));
        }
        let body = Limited::new(response.into_body(), LIMIT).collect().await;
        let body = body.map_err(|error| format!("{error} (at most {} MiB are read)", LIMIT >> 20))?;
        return String::from_utf8(body.to_bytes().into()).map_err(|_| "the answer is not UTF-8 text".into());
    }
    Err(format!("more than {REDIRECTS} redirects"))
}

/// One request, over TLS with the authorities that the system trusts.
async fn ask(uri: &Uri) -> Result<http::Response<Body>, String> {
    if uri.scheme_str() != Some("https") {
        return Err("only https addresses are read: what comes over http may have been changed on the way".into());
    }
    let authority = uri.authority().ok_or("it names no host")?;
    let host: Uri = format!("https://{authority}").parse().map_err(|error| format!("not an address: {error}"))?;
    let client = Client::try_from(Config::new(host)).map_err(|error| chain(&error))?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let agent = concat!("torch-remote/", env!("CARGO_PKG_VERSION"));
    let request = Request::get(path).header(header::USER_AGENT, agent).body(Body::empty());
    client.send(request.map_err(|error| error.to_string())?).await.map_err(|error| chain(&error))
}

/// Where a redirect of `from` leads.
fn join(from: &Uri, on: &str) -> Result<Uri, String> {
    let whole = if let Some(rest) = on.strip_prefix("//") {
        format!("https://{rest}")
    } else if on.starts_with('/') {
        format!("https://{}{on}", from.authority().map_or("", |authority| authority.as_str()))
    } else if on.contains("://") {
        on.to_owned()
    } else {
        let folder = from.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("https://{}{folder}/{on}", from.authority().map_or("", |authority| authority.as_str()))
    };
    whole.parse().map_err(|error| format!("it points on to {on:?}, which is not an address: {error}"))
}

/// The error's last cause: the first ones say only that a request failed.
fn chain(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(next) = last.source() {
        last = next;
    }
    last.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(texts: &[Text]) -> Vec<&str> {
        texts.iter().map(|text| text.place.rsplit('/').next().expect("a name")).collect()
    }

    #[tokio::test]
    async fn a_folder_is_its_manifests_by_name_and_deeper_ones_when_asked() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(dir.path().join("deep")).expect("a folder");
        for name in ["b.yml", "a.json", "README.md", "deep/c.yaml"] {
            std::fs::write(dir.path().join(name), "x: 1\n").expect("a file");
        }
        std::os::unix::fs::symlink(dir.path(), dir.path().join("deep/loop")).expect("a link");
        let whole = [dir.path().to_owned()];
        assert_eq!(names(&read(&whole, false).await.expect("two")), ["a.json", "b.yml"]);
        assert_eq!(names(&read(&whole, true).await.expect("three")), ["a.json", "b.yml", "c.yaml"]);
    }

    #[tokio::test]
    async fn a_folder_without_manifests_is_an_error() {
        let dir = tempfile::tempdir().expect("a folder");
        assert!(matches!(read(&[dir.path().to_owned()], false).await, Err(Error::Nothing { .. })));
    }

    #[tokio::test]
    async fn an_address_without_tls_is_refused() {
        let error = read(&["http://example.org/a.yaml".into()], false).await.expect_err("no TLS");
        assert!(error.to_string().contains("only https addresses are read"), "{error}");
    }

    #[test]
    fn a_redirect_may_be_written_in_four_ways() {
        let from: Uri = "https://a.example/x/y?z".parse().expect("an address");
        for (on, leads) in [
            ("https://b.example/c", "https://b.example/c"),
            ("//b.example/c", "https://b.example/c"),
            ("/c", "https://a.example/c"),
            ("c", "https://a.example/x/c"),
        ] {
            assert_eq!(join(&from, on).expect("an address").to_string(), leads);
        }
    }
}
