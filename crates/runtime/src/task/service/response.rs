//! The response of a service, as its task passes it on: in parts, and with an end that may have to wait.

use super::PARTS_AHEAD;
use crate::ports::http::HttpError;
use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_LENGTH;
use http::response::Parts;
use http_body::{Frame, SizeHint};
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::{mpsc, oneshot};

/// The files of a task, which become objects when its handler has returned.
pub(super) struct Files {
    /// Says that nothing of the response is left but what waits for the files.
    pub(super) reached: oneshot::Sender<()>,
    pub(super) are_written: oneshot::Receiver<()>,
}

/// The end of a response: holds back that with which a client has all of it.
pub(super) struct End {
    /// `None`: the task can write no files, and so nothing is held back.
    files: Option<Files>,
    /// Bytes of the body that the client still expects; `None` if it's told no length.
    left: Option<u64>,
    /// The last data of a body with a length, and trailers.
    held: Vec<Frame<Bytes>>,
}

impl End {
    pub(super) fn new(files: Option<Files>, parts: &Parts, hint: SizeHint, is_head: bool) -> Self {
        let length = parts.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let left = match parts.status {
            // Such a response ends with its head.
            _ if is_head => Some(0),
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => Some(0),
            _ => length.or(hint.exact()),
        };
        Self { files, left, held: Vec::new() }
    }

    /// Returns whether the client would have the whole response with what is held back.
    pub(super) fn is_held(&self) -> bool {
        self.files.is_some() && self.left == Some(0)
    }

    /// Takes a frame. Returns it unless it's held back, or beyond the end.
    pub(super) fn pass(&mut self, frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
        if self.files.is_none() {
            return Some(frame);
        }
        if let Some(data) = frame.data_ref() {
            if self.is_held() {
                return None;
            }
            self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
            if !self.is_held() {
                return Some(frame);
            }
        }
        self.held.push(frame);
        None
    }

    /// Waits for the files. Returns what was held back.
    pub(super) async fn reach(&mut self) -> Vec<Frame<Bytes>> {
        if let Some(Files { reached, are_written }) = self.files.take() {
            let _ = reached.send(());
            // Without them the task ends, and this with it.
            let _ = are_written.await;
        }
        std::mem::take(&mut self.held)
    }
}

/// The body of a response, as the task passes it on.
pub(super) struct ResponseBody {
    /// Frames that were passed on with the head.
    pub(super) ahead: VecDeque<Frame<Bytes>>,
    /// Those that follow, and `None` as their end.
    rest: Option<mpsc::Receiver<Option<Frame<Bytes>>>>,
    hint: SizeHint,
    /// Whether nothing follows `ahead`.
    pub(super) is_whole: bool,
}

impl ResponseBody {
    pub(super) fn new(hint: SizeHint) -> Self {
        Self { ahead: VecDeque::new(), rest: None, hint, is_whole: false }
    }

    /// Returns where to send the frames that follow.
    pub(super) fn begin_rest(&mut self) -> mpsc::Sender<Option<Frame<Bytes>>> {
        let (frames, rest) = mpsc::channel(PARTS_AHEAD.saturating_sub(self.ahead.len()).max(1));
        self.rest = Some(rest);
        frames
    }

    /// Returns the bytes that are left of a whole body without trailers.
    fn left(&self) -> Option<u64> {
        let bytes = self.ahead.iter().map(|frame| Some(frame.data_ref()?.len() as u64));
        if self.is_whole { bytes.sum() } else { None }
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, HttpError>>> {
        if let Some(frame) = self.ahead.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        if self.is_whole {
            return Poll::Ready(None);
        }
        let Some(rest) = &mut self.rest else { return Poll::Ready(Some(Err(HttpError::Task))) };
        rest.poll_recv(context).map(|frame| match frame {
            Some(Some(frame)) => Some(Ok(frame)),
            Some(None) => {
                self.is_whole = true;
                None
            }
            // The task has ended early.
            None => Some(Err(HttpError::Task)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.is_whole && self.ahead.is_empty() || self.hint.exact() == Some(0)
    }

    /// A response that is passed on as a whole says its length, even if the guest didn't.
    fn size_hint(&self) -> SizeHint {
        self.left().map_or(self.hint, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests {
    use super::super::unless_waiting;
    use super::*;
    use http::{HeaderMap, Response};
    use http_body::Body as _;
    use http_body_util::BodyExt;
    use std::pin::pin;

    fn whole(frames: impl IntoIterator<Item = Frame<Bytes>>) -> ResponseBody {
        let ahead = frames.into_iter().collect();
        ResponseBody { ahead, is_whole: true, ..ResponseBody::new(SizeHint::new()) }
    }

    fn data(text: &'static str) -> Frame<Bytes> {
        Frame::data(Bytes::from_static(text.as_bytes()))
    }

    #[tokio::test]
    async fn a_whole_response_says_its_length_unless_trailers_follow() {
        let mut body = whole([data("ab"), data("cde")]);
        assert_eq!(body.size_hint().exact(), Some(5));
        body.frame().await.expect("a frame").expect("no error");
        assert!(body.size_hint().exact() == Some(3) && !body.is_end_stream());
        body.frame().await.expect("a frame").expect("no error");
        assert!(body.is_end_stream() && body.frame().await.is_none());
        assert_eq!(whole([data("ab"), Frame::trailers(HeaderMap::new())]).size_hint().exact(), None);
    }

    #[tokio::test]
    async fn a_response_whose_task_ends_early_never_ends_as_if_it_were_whole() {
        let mut body = ResponseBody::new(SizeHint::new());
        let frames = body.begin_rest();
        body.ahead.push_back(data("ab"));
        drop(frames);
        assert_eq!(body.size_hint().exact(), None);
        assert!(body.frame().await.expect("a frame").is_ok() && !body.is_end_stream());
        assert!(body.frame().await.expect("an error").is_err());
    }

    /// Returns the end of a response with this head whose task may write files.
    fn end(head: Response<()>) -> (End, oneshot::Receiver<()>, oneshot::Sender<()>) {
        let ((reached, at_the_end), (written, are_written)) = (oneshot::channel(), oneshot::channel());
        let files = Some(Files { reached, are_written });
        (End::new(files, &head.into_parts().0, SizeHint::new(), false), at_the_end, written)
    }

    #[tokio::test]
    async fn the_end_of_a_response_waits_for_the_files_of_its_task_and_nothing_before_it_does() {
        let sized = Response::builder().header(CONTENT_LENGTH, 5).body(()).expect("a head");
        let (mut end, mut at_the_end, written) = end(sized);
        assert!(end.pass(data("ab")).is_some() && !end.is_held());
        assert!(end.pass(data("cde")).is_none() && end.is_held());
        assert!(end.pass(data("")).is_none() && end.pass(Frame::trailers(HeaderMap::new())).is_none());
        let held = {
            let mut reaching = pin!(end.reach());
            assert!(unless_waiting(&mut reaching).await.is_none());
            assert_eq!(at_the_end.try_recv(), Ok(()));
            written.send(()).expect("it waits");
            reaching.await
        };
        assert!(held.len() == 2 && held[0].is_data() && held[1].is_trailers());
    }

    #[test]
    fn a_response_without_a_length_ends_with_its_trailers_and_one_without_a_body_with_its_head() {
        let (mut chunked, ..) = end(Response::new(()));
        assert!(chunked.pass(data("ab")).is_some() && !chunked.is_held());
        assert!(chunked.pass(Frame::trailers(HeaderMap::new())).is_none());
        for head in [
            Response::builder().header(CONTENT_LENGTH, 0),
            Response::builder().status(StatusCode::NO_CONTENT),
            Response::builder().status(StatusCode::NOT_MODIFIED).header(CONTENT_LENGTH, 7),
        ] {
            let (end, ..) = end(head.body(()).expect("a head"));
            assert!(end.is_held());
        }
    }
}
