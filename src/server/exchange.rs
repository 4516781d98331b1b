//! One request and its response: from hyper's types to the stack's and back, or past the stack where it
//! can be answered at once.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::uri::Scheme;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::ext::ReasonPhrase;
use hyper::upgrade::OnUpgrade;
use pin_project_lite::pin_project;
use tower::Service;

use super::interim::{Interims, Unanswered};
use super::turn::{Content, Turn};
use crate::body::Body;
use crate::fast::{FastPath, Head, Looking};
use crate::idle::Idle;
use crate::peer::{ClientAddr, LocalAddr, Tunnels};

/// RFC 9112 §4: a status that has no phrase is sent without one; hyper would make one up.
const NO_REASON: ReasonPhrase = ReasonPhrase::from_static(b"");

/// Answers the requests of one connection. `B` is how its protocol takes content.
pub(super) struct Exchanges<S, Q, B> {
    pub(super) services: Arc<Spare<S>>,
    /// Who may answer past the layers, unless the socket asks already.
    pub(super) fast: Option<RefCell<Q>>,
    pub(super) ends: (ClientAddr, LocalAddr),
    pub(super) body_timeout: Duration,
    pub(super) tunnels: Tunnels,
    /// Set when a response breaks off that only the end of the connection ends.
    pub(super) broken: Arc<AtomicBool>,
    pub(super) interims: Arc<Interims>,
    pub(super) turn: Arc<Turn>,
    pub(super) content: PhantomData<fn() -> B>,
}

impl<S, Q, B> hyper::service::Service<Request<Incoming>> for Exchanges<S, Q, B>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
    Q: FastPath,
    B: Content,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future = Exchange<S, S::Future, B>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.turn.begin();
        if let Some(response) = self.at_once(&request) {
            return self.exchange(Stage::Answered { response: Some(response) });
        }
        let is_get = is_plain_get(&request);
        let (mut head, content) = request.into_parts();
        head.extensions.insert(self.ends.0);
        head.extensions.insert(self.ends.1);
        if head.extensions.get::<OnUpgrade>().is_some() {
            head.extensions.insert(self.tunnels.clone());
        }
        // RFC 9110 §15.2: "a server MUST NOT send a 1xx response to an HTTP/1.0 client".
        let unanswered = (head.version == Version::HTTP_11).then(|| self.interims.begin());
        if let Some(unanswered) = &unanswered {
            head.extensions.insert(unanswered.way());
        }
        // RFC 9112 §6.3: without chunks, content of unknown length ends with the connection.
        let broken = (head.version == Version::HTTP_10).then(|| Arc::clone(&self.broken));
        let is_head = head.method == Method::HEAD;
        let content = if content.is_end_stream() {
            Body::empty()
        } else {
            Body::streaming(Idle::new(content, self.body_timeout))
        };
        if let Some(found) = self.turn.take_found() {
            head.extensions.insert(found);
        }
        let mut head = Some(head);
        let stage = match self.look(&mut head, is_get) {
            Some(looking) => Stage::Looking { looking },
            None => Stage::asking(head.map(|head| Request::from_parts(head, content))),
        };
        Exchange { broken, is_head, unanswered, ..self.exchange(stage) }
    }
}

impl<S, Q: FastPath, B> Exchanges<S, Q, B> {
    fn exchange<F>(&self, stage: Stage<S, F>) -> Exchange<S, F, B> {
        Exchange {
            services: Arc::clone(&self.services),
            stage,
            broken: None,
            is_head: false,
            unanswered: None,
            turn: Arc::clone(&self.turn),
            held: false,
            content: PhantomData,
        }
    }

    /// A look for it before it goes through the layers.
    fn look(&self, head: &mut Option<Parts>, is_get: bool) -> Option<Looking> {
        let asks = self.fast.as_ref().filter(|_| is_get)?;
        asks.borrow_mut().look(head)
    }

    /// The answer to what need not go through the layers.
    fn at_once(&self, request: &Request<Incoming>) -> Option<Response<Body>> {
        let fast = self.fast.as_ref().filter(|_| is_plain_get(request))?;
        let (ClientAddr(client), LocalAddr(local)) = self.ends;
        let target = request.uri().path_and_query()?.as_str();
        let fields = Head::fields(request.uri(), request.headers())?;
        let head = Head { target, fields: &fields, client, local };
        Some(fast.borrow_mut().respond(&head)?.map(Body::full))
    }
}

/// May it be answered past the layers, as far as can be seen here?
fn is_plain_get(request: &Request<Incoming>) -> bool {
    let of_http = |scheme: &Scheme| *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS;
    request.method() == Method::GET
        && matches!(request.version(), Version::HTTP_11 | Version::HTTP_2)
        && request.body().is_end_stream()
        && request.uri().scheme().is_none_or(of_http)
}

/// The service of a connection, and the clone that its last request gave back: requests one after
/// another cost no clone, and what a layer remembers of the last one serves the next.
pub(super) struct Spare<S>(Mutex<(S, Option<S>)>);

impl<S: Clone> Spare<S> {
    pub(super) const fn new(service: S) -> Self {
        Self(Mutex::new((service, None)))
    }

    fn take(&self) -> S {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slot.1.take().unwrap_or_else(|| slot.0.clone())
    }

    fn give_back(&self, service: S) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1 = Some(service);
    }
}

pin_project! {
    /// Resolves to the response's head, with content as `B`.
    pub(super) struct Exchange<S, F, B> {
        services: Arc<Spare<S>>,
        #[pin]
        stage: Stage<S, F>,
        broken: Option<Arc<AtomicBool>>,
        is_head: bool,
        unanswered: Option<Unanswered>,
        turn: Arc<Turn>,
        // The answer has waited for interim responses.
        held: bool,
        content: PhantomData<fn() -> B>,
    }
}

pin_project! {
    #[project = StageView]
    enum Stage<S, F> {
        // For an answer past the layers.
        Looking { looking: Looking },
        // Until the service is ready to be called.
        Asking { service: Option<S>, request: Option<Request<Body>> },
        Answering { #[pin] answer: F },
        // Until the interim responses before it have been written.
        Answered { response: Option<Response<Body>> },
    }
}

impl<S, F> Stage<S, F> {
    const fn asking(request: Option<Request<Body>>) -> Self {
        Self::Asking { service: None, request }
    }
}

impl<S, B> Future for Exchange<S, S::Future, B>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
    B: Content,
{
    type Output = Result<Response<B>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.stage.as_mut().project() {
                StageView::Looking { looking } => match ready!(looking.as_mut().poll(cx)) {
                    Ok(response) => Stage::Answered { response: Some(response.map(Body::full)) },
                    Err(head) => Stage::asking(Some(Request::from_parts(head, Body::empty()))),
                },
                StageView::Answering { answer } => match answer.poll(cx) {
                    Poll::Ready(Ok(response)) => Stage::Answered { response: Some(response) },
                    Poll::Ready(Err(never)) => match never {},
                    Poll::Pending => {
                        if let Some(unanswered) = this.unanswered {
                            unanswered.wait(cx);
                        }
                        return Poll::Pending;
                    }
                },
                StageView::Answered { response } => {
                    if let Some(unanswered) = this.unanswered
                        && !unanswered.ends()
                    {
                        unanswered.wait(cx);
                        if !std::mem::replace(this.held, true) {
                            // Another turn of the connection, to its end: there it flushes.
                            cx.waker().wake_by_ref();
                        }
                        return Poll::Pending;
                    }
                    // It is there once, and nobody polls what has been ready.
                    let Some(response) = response.take() else { return Poll::Pending };
                    let response = if *this.is_head { head_of(response) } else { response };
                    return Poll::Ready(Ok(finish(response, this.broken.take(), this.turn)));
                }
                StageView::Asking { service, request } => {
                    // Only now: streams that come together have one service take them in turn,
                    // and remember for each other.
                    let taking = service.get_or_insert_with(|| this.services.take());
                    match ready!(taking.poll_ready(cx)) {
                        Ok(()) => {}
                        Err(never) => match never {},
                    }
                    // Both are there until `Answering` replaces this stage, right below.
                    let (Some(mut service), Some(request)) = (service.take(), request.take())
                    else {
                        return Poll::Pending;
                    };
                    let answer = service.call(request);
                    this.services.give_back(service);
                    Stage::Answering { answer }
                }
            };
            this.stage.set(next);
        }
    }
}

/// RFC 9110 §9.3.2: "the server MUST NOT send content in the response" to a HEAD. Errors are made
/// without a look at the method, and of the protocols' implementations only that of HTTP/1 leaves
/// their content out by itself.
fn head_of(response: Response<Body>) -> Response<Body> {
    let (mut head, content) = response.into_parts();
    // §8.6: the length that a GET would have had, where it is known.
    let length = content.size_hint().exact().filter(|length| *length > 0);
    if let (Some(length), false) = (length, head.headers.contains_key(CONTENT_LENGTH)) {
        head.headers.append(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Response::from_parts(head, Body::empty())
}

/// As hyper is to send it; `broken` is there if its client speaks HTTP/1.0.
fn finish<B: Content>(
    mut response: Response<Body>,
    broken: Option<Arc<AtomicBool>>,
    turn: &Arc<Turn>,
) -> Response<B> {
    if response.status().canonical_reason().is_none() {
        response.extensions_mut().insert(NO_REASON);
    }
    if broken.is_some() && response.body().size_hint().exact().is_none() {
        // RFC 9112 §6.3: it ends with the connection, which must not be said to stay; an answer in
        // HTTP/1.1 makes hyper say so.
        *response.version_mut() = Version::HTTP_10;
    }
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        turn.end();
    }
    response.map(|content| B::of(told(content, broken), turn))
}

/// `content`, setting `broken` if it breaks off.
fn told(content: Body, broken: Option<Arc<AtomicBool>>) -> Body {
    match broken {
        Some(broken) if !content.is_whole() => Body::streaming(content.map_err(move |error| {
            broken.store(true, Ordering::Relaxed);
            error
        })),
        _ => content,
    }
}
