//! In paused time: what happens between a question and its answer is what matters here.

use std::sync::atomic::AtomicBool;

use tokio::task::JoinSet;
use tokio::time::sleep_until;

use super::*;
use crate::ledger::{Cause, Kind, Ledger, Mode, Opening, Record};

/// How long a question is on its way.
const WAY: Duration = Duration::from_millis(10);
const HALF: Duration = Duration::from_millis(5);
const BUDGET: Duration = Duration::from_millis(200);

/// A stream that ends where the test says; the answer tells where it ended when it was asked.
#[derive(Debug, Default)]
struct Stream {
    last: AtomicU64,
    deaf: AtomicBool,
    lost: AtomicBool,
    asked: AtomicU64,
}

#[derive(Clone)]
struct Fake(Arc<Stream>);

impl Fake {
    async fn head(&self) -> Answer {
        self.0.asked.fetch_add(1, Relaxed);
        let last = Position::of_entry(self.0.last.load(Relaxed), 0);
        let (deaf, lost) = (self.0.deaf.load(Relaxed), self.0.lost.load(Relaxed));
        sleep(WAY).await;
        match (deaf, lost) {
            (true, _) => Err(Unconfirmed::Silent),
            (_, true) => Ok(None),
            _ => Ok(Some(Head { life: "life".into(), last })),
        }
    }
}

impl Asker for Fake {
    async fn ask(&mut self) -> Answer {
        self.head().await
    }
}

/// What this process knows, with a barrier that asks `stream`.
fn process() -> (Arc<Shared>, Arc<Stream>) {
    let ledger = Ledger::new(100, Some(Duration::from_secs(2)));
    let shared = Arc::new(Shared::new(ledger, None));
    let stream = Arc::<Stream>::default();
    let (driven, mut asker) = (Arc::clone(&shared), Fake(Arc::clone(&stream)));
    tokio::spawn(async move { driven.barrier.run(&mut asker).await });
    (shared, stream)
}

fn opened(shared: &Shared, life: &str, fence: u64) {
    let fence = Position::of_entry(fence, 0);
    shared.open(&Opening { life: life.into(), fence, trimmed: Position::ZERO }, Position::ZERO);
}

fn read(shared: &Shared, last: u64) {
    let kind = Kind::Invalidation { names: Vec::new(), mode: Mode::Hard };
    let position = Position::of_entry(last, 0);
    let writer = "other".into();
    shared.apply(&[Record { position, kind, writer, ticket: None, cause: Cause::Write }]);
}

/// Somebody asks; while that question is on its way a write is acknowledged, and then somebody else
/// asks. The end that each is told.
async fn a_write_between<A>(stream: &Stream, ask: impl Fn() -> A) -> (Answer, Answer)
where
    A: Future<Output = Answer> + Send + 'static,
{
    stream.last.store(1, Relaxed);
    let first = tokio::spawn(ask());
    sleep(HALF).await;
    stream.last.store(2, Relaxed);
    let second = ask().await;
    (first.await.unwrap(), second)
}

fn end(last: u64) -> Answer {
    Ok(Some(Head { life: "life".into(), last: Position::of_entry(last, 0) }))
}

#[tokio::test(start_paused = true)]
async fn who_comes_while_a_question_is_on_its_way_waits_for_the_next_one() {
    let (shared, stream) = process();
    let told = a_write_between(&stream, || {
        let shared = Arc::clone(&shared);
        async move { shared.barrier.ask().await }
    });
    assert_eq!(told.await, (end(1), end(2)));
    assert_eq!((shared.barrier.questions(), stream.asked.load(Relaxed)), (2, 2));
}

/// A barrier as one would write it first: who comes while a question is on its way waits for that.
#[tokio::test(start_paused = true)]
async fn shared_with_the_question_on_its_way_the_answer_would_miss_a_write() {
    let stream = Arc::<Stream>::default();
    let fake = Fake(Arc::clone(&stream));
    let under_way: Arc<Mutex<Option<watch::Receiver<Option<Answer>>>>> = Arc::default();
    let told = a_write_between(&stream, || {
        let (fake, under_way) = (fake.clone(), Arc::clone(&under_way));
        async move {
            let joined = under_way.lock().unwrap().clone();
            let Some(mut joined) = joined else {
                let (sender, receiver) = watch::channel(None);
                *under_way.lock().unwrap() = Some(receiver);
                let answer = fake.head().await;
                sender.send_replace(Some(answer.clone()));
                return answer;
            };
            joined.wait_for(Option::is_some).await.unwrap().clone().unwrap()
        }
    });
    assert_eq!(told.await, (end(1), end(1)), "the second asked when it was 2");
}

#[tokio::test(start_paused = true)]
async fn all_who_come_while_a_question_is_on_its_way_share_the_next() {
    let (shared, _) = process();
    let mut all = JoinSet::new();
    for of in 0..200 {
        let shared = Arc::clone(&shared);
        all.spawn(async move {
            sleep(WAY * of / 300).await;
            shared.barrier.ask().await
        });
    }
    assert!(all.join_all().await.iter().all(Result::is_ok));
    assert_eq!(shared.barrier.questions(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_has_left_is_not_asked_for() {
    let (shared, stream) = process();
    let first = Arc::clone(&shared);
    let first = tokio::spawn(async move { first.barrier.ask().await });
    sleep(HALF).await;
    assert!(timeout(Duration::ZERO, shared.barrier.ask()).await.is_err());
    assert!(first.await.unwrap().is_ok());
    sleep(WAY * 10).await;
    assert_eq!(stream.asked.load(Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn without_an_answer_nobody_waits_until_there_is_one_again() {
    let (shared, stream) = process();
    stream.deaf.store(true, Relaxed);
    let started = Instant::now();
    let ask = |after: Duration| {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            sleep_until(started + after).await;
            (shared.barrier.ask().await, started.elapsed())
        })
    };
    let (first, meanwhile, later) = (ask(Duration::ZERO), ask(HALF), ask(WAY * 2));
    assert_eq!(first.await.unwrap(), (Err(Unconfirmed::Silent), WAY));
    assert_eq!(meanwhile.await.unwrap(), (Err(Unconfirmed::Silent), WAY), "no question of its own");
    assert_eq!(later.await.unwrap(), (Err(Unconfirmed::Away), WAY * 2));
    stream.deaf.store(false, Relaxed);
    sleep(PAUSES.1 + WAY * 2).await;
    assert!(shared.barrier.ask().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn it_is_passed_when_the_tail_is_where_the_stream_ended() {
    let (shared, stream) = process();
    opened(&shared, "life", 1);
    read(&shared, 1);
    stream.last.store(5, Relaxed);
    let tail = Arc::clone(&shared);
    tokio::spawn(async move {
        for last in 2..10 {
            sleep(WAY).await;
            read(&tail, last);
        }
    });
    let started = Instant::now();
    assert_eq!(confirm(&shared, BUDGET).await, Ok(()));
    assert_eq!((shared.read().applied(), started.elapsed()), (Position::of_entry(5, 0), WAY * 4));
}

#[tokio::test(start_paused = true)]
async fn a_tail_that_is_late_and_a_valkey_that_is_silent_cost_the_budget_once() {
    let (shared, stream) = process();
    opened(&shared, "life", 1);
    stream.last.store(5, Relaxed);
    let started = Instant::now();
    assert_eq!(confirm(&shared, BUDGET).await, Err(Unconfirmed::Late));
    assert_eq!(started.elapsed(), BUDGET);
    let within = Duration::from_millis(3);
    assert_eq!(confirm(&shared, within).await, Err(Unconfirmed::Silent));
    assert_eq!(started.elapsed(), BUDGET + within);
    assert_eq!(reach(&shared, BUDGET).await, Ok(()), "it need not be read to be written to");
}

#[tokio::test(start_paused = true)]
async fn a_position_of_another_life_is_not_taken_for_one_of_this() {
    let (shared, stream) = process();
    opened(&shared, "before", 1);
    read(&shared, 100);
    stream.last.store(50, Relaxed);
    assert_eq!(confirm(&shared, BUDGET).await, Err(Unconfirmed::Late));
    let tail = Arc::clone(&shared);
    tokio::spawn(async move {
        sleep(WAY * 3).await;
        opened(&tail, "life", 101);
    });
    stream.last.store(100, Relaxed);
    let started = Instant::now();
    assert_eq!(confirm(&shared, BUDGET).await, Ok(()));
    assert!(started.elapsed() >= WAY * 3);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_nobody_has_opened_is_asked_for_again_until_somebody_has() {
    let (shared, stream) = process();
    opened(&shared, "life", 1);
    read(&shared, 1);
    stream.last.store(1, Relaxed);
    stream.lost.store(true, Relaxed);
    assert_eq!(confirm(&shared, BUDGET).await, Err(Unconfirmed::Unopened));
    assert_eq!(reach(&shared, BUDGET).await, Err(Unconfirmed::Unopened));
    let tail = Arc::clone(&stream);
    tokio::spawn(async move {
        sleep(WAY * 3).await;
        tail.lost.store(false, Relaxed);
    });
    assert_eq!(confirm(&shared, BUDGET).await, Ok(()));
}
