//! Tags and content of an event as bytes, small and exact.
//!
//! Half of what events hold is hexadecimal: ids and keys in tags. As bytes these take half the space, and since they do not
//! compress further they are kept apart from the text, which zstd compresses with a dictionary trained on the archive's own
//! events. `docs/DATABASE.md` has the format.

use std::cell::RefCell;
use std::sync::{Arc, PoisonError, RwLock};

use data_encoding::HEXLOWER;
use zstd::zstd_safe::{self, CCtx, CDict, DCtx, DDict};

use crate::{StorageError, varint};

/// Shorter runs of hexadecimal digits stay text: their header would cost what they save.
const MIN_HEX: usize = 16;
/// Compression level of zstd: 3 % smaller than its fastest level, for two microseconds per event.
const LEVEL: i32 = 3;
/// Every zstd frame begins with these bytes, which are not stored.
const MAGIC: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];
/// The largest text: relay messages are bounded far below.
const MAX_TEXT: usize = 256 << 20;
/// Bytes of a trained dictionary. Twice as many save one byte per event.
const DICTIONARY_BYTES: usize = 32 << 10;

/// How a payload's text is stored: the first byte of a payload.
const PLAIN: u8 = 0;
const ZSTD: u8 = 1;

fn damaged(detail: impl Into<String>) -> StorageError {
    StorageError::Damaged { what: "event", detail: detail.into() }
}

fn put_length(out: &mut Vec<u8>, n: usize) {
    varint::put(out, n as u64);
}

/// Reads from the front of a slice, never past its end.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn length(&mut self) -> Result<usize, StorageError> {
        let n = varint::take(&mut self.0).ok_or_else(|| damaged("a payload that ends too soon"))?;
        usize::try_from(n).map_err(|_| damaged("a length out of range"))
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], StorageError> {
        let (taken, rest) = self.0.split_at_checked(n).ok_or_else(|| damaged("a payload that ends too soon"))?;
        self.0 = rest;
        Ok(taken)
    }
}

fn text(bytes: &[u8]) -> Result<String, StorageError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| damaged("text that is not UTF-8"))
}

/// Appends the bytes of lower-case hexadecimal digits; appends nothing and returns false if the text is anything else.
fn put_unhexed(out: &mut Vec<u8>, value: &str) -> bool {
    if value.len() < MIN_HEX || value.len() % 2 == 1 {
        return false;
    }
    let start = out.len();
    out.resize(start + value.len() / 2, 0);
    let is_hex = HEXLOWER.decode_mut(value.as_bytes(), &mut out[start..]).is_ok();
    if !is_hex {
        out.truncate(start);
    }
    is_hex
}

/// Writes tags: their number; of each tag the number of values; of each value twice its length in bytes, plus one if it is
/// hexadecimal, and the bytes. Bytes of hexadecimal values go to `hex` if it is given.
fn put_tags(tags: &[Vec<String>], out: &mut Vec<u8>, mut hex: Option<&mut Vec<u8>>) {
    let mut unhexed = Vec::with_capacity(32);
    put_length(out, tags.len());
    for tag in tags {
        put_length(out, tag.len());
        for value in tag {
            unhexed.clear();
            if put_unhexed(&mut unhexed, value) {
                put_length(out, unhexed.len() * 2 + 1);
                hex.as_deref_mut().unwrap_or(out).extend_from_slice(&unhexed);
            } else {
                put_length(out, value.len() * 2);
                out.extend_from_slice(value.as_bytes());
            }
        }
    }
}

fn take_tags(from: &mut Reader<'_>, mut hex: Option<&mut Reader<'_>>) -> Result<Vec<Vec<String>>, StorageError> {
    let tags = from.length()?;
    (0..tags)
        .map(|_| {
            let values = from.length()?;
            (0..values)
                .map(|_| {
                    let header = from.length()?;
                    match (header % 2 == 1, hex.as_deref_mut()) {
                        (false, _) => text(from.take(header / 2)?),
                        (true, None) => Ok(HEXLOWER.encode(from.take(header / 2)?)),
                        (true, Some(apart)) => Ok(HEXLOWER.encode(apart.take(header / 2)?)),
                    }
                })
                .collect()
        })
        .collect()
}

/// Encodes tags in a form that a database function can read: nothing compressed, nothing apart. `content` follows if it is
/// given, to the end.
pub(crate) fn pack_tags(tags: &[Vec<String>], content: Option<&str>) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    put_tags(tags, &mut out, None);
    out.extend_from_slice(content.unwrap_or_default().as_bytes());
    out
}

/// Decodes the output of [`pack_tags`]; the content is empty if none was given.
pub(crate) fn unpack_tags(packed: &[u8]) -> Result<(Vec<Vec<String>>, String), StorageError> {
    let mut reader = Reader(packed);
    let tags = take_tags(&mut reader, None)?;
    Ok((tags, text(reader.0)?))
}

/// A dictionary, prepared for use.
struct Dictionary {
    compress: CDict<'static>,
    decompress: DDict<'static>,
}

thread_local! {
    static CONTEXTS: RefCell<(CCtx<'static>, DCtx<'static>)> = RefCell::new((CCtx::create(), DCtx::create()));
}

/// Packs and unpacks payloads with the archive's dictionaries, which are numbered from 1 and never change.
#[derive(Default)]
pub(crate) struct Codec {
    dictionaries: RwLock<Vec<Arc<Dictionary>>>,
}

impl std::fmt::Debug for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Codec").field("dictionaries", &self.dictionaries()).finish()
    }
}

impl Codec {
    /// Returns the number of dictionaries.
    pub(crate) fn dictionaries(&self) -> usize {
        self.dictionaries.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Adds the next dictionary, which is used for packing from now on.
    pub(crate) fn add_dictionary(&self, bytes: &[u8]) {
        let ready = Dictionary { compress: CDict::create(bytes, LEVEL), decompress: DDict::create(bytes) };
        self.dictionaries.write().unwrap_or_else(PoisonError::into_inner).push(Arc::new(ready));
    }

    fn dictionary(&self, number: usize) -> Option<Arc<Dictionary>> {
        let place = number.checked_sub(1)?;
        self.dictionaries.read().unwrap_or_else(PoisonError::into_inner).get(place).cloned()
    }

    /// Packs tags and content with the newest dictionary.
    ///
    /// The layout: form, number of the dictionary, length of the text, text, hexadecimal values.
    pub(crate) fn pack(&self, tags: &[Vec<String>], content: &str) -> Vec<u8> {
        let (plain, hex) = text_and_hex(tags, content);
        let number = self.dictionaries();
        let mut out = Vec::with_capacity(plain.len() + hex.len() + 8);
        let compressed = self.dictionary(number).and_then(|dictionary| {
            let mut buffer = vec![0; zstd_safe::compress_bound(plain.len())];
            let result = CONTEXTS.with_borrow_mut(|(context, _)| {
                context.compress_using_cdict(&mut buffer[..], &plain, &dictionary.compress)
            });
            buffer.truncate(result.ok()?);
            (buffer.len() < plain.len() + MAGIC.len()).then_some(buffer)
        });
        match compressed.as_ref().and_then(|frame| frame.strip_prefix(&MAGIC)) {
            Some(frame) => {
                out.push(ZSTD);
                put_length(&mut out, number);
                put_length(&mut out, frame.len());
                out.extend_from_slice(frame);
            }
            None => {
                out.push(PLAIN);
                put_length(&mut out, plain.len());
                out.extend_from_slice(&plain);
            }
        }
        out.extend_from_slice(&hex);
        out
    }

    /// Unpacks tags and content.
    ///
    /// # Errors
    /// Fails if the payload was not written by [`Codec::pack`], or needs a dictionary that is not loaded.
    pub(crate) fn unpack(&self, payload: &[u8]) -> Result<(Vec<Vec<String>>, String), StorageError> {
        let mut reader = Reader(payload);
        let plain = match reader.take(1)? {
            [PLAIN] => {
                let length = reader.length()?;
                reader.take(length)?.to_vec()
            }
            [ZSTD] => {
                let number = reader.length()?;
                let dictionary = self.dictionary(number).ok_or(StorageError::UnknownDictionary(number))?;
                let length = reader.length()?;
                let frame = [&MAGIC, reader.take(length)?].concat();
                let size = zstd_safe::get_frame_content_size(&frame).ok().flatten().unwrap_or(0);
                let size = usize::try_from(size).ok().filter(|size| *size <= MAX_TEXT);
                let mut plain = vec![0; size.ok_or_else(|| damaged("a compressed text that is too long"))?];
                let result = CONTEXTS.with_borrow_mut(|(_, context)| {
                    context.decompress_using_ddict(&mut plain[..], &frame, &dictionary.decompress)
                });
                let n = result.map_err(|code| damaged(zstd_safe::get_error_name(code)))?;
                plain.truncate(n);
                plain
            }
            _ => return Err(damaged("a payload of an unknown form")),
        };
        let mut from = Reader(&plain);
        let tags = take_tags(&mut from, Some(&mut reader))?;
        Ok((tags, text(from.0)?))
    }
}

/// Splits an event into what is compressed and what is not.
fn text_and_hex(tags: &[Vec<String>], content: &str) -> (Vec<u8>, Vec<u8>) {
    let (mut plain, mut hex) = (Vec::with_capacity(content.len() + 128), Vec::with_capacity(128));
    put_tags(tags, &mut plain, Some(&mut hex));
    plain.extend_from_slice(content.as_bytes());
    (plain, hex)
}

/// Trains a dictionary on events; returns `None` if there are too few.
pub(crate) fn train(events: &[(Vec<Vec<String>>, String)]) -> Option<Vec<u8>> {
    let samples: Vec<Vec<u8>> = events.iter().map(|(tags, content)| text_and_hex(tags, content).0).collect();
    let mut dictionary = zstd::dict::from_samples(&samples, DICTIONARY_BYTES).ok()?;
    // The id that frames repeat: one byte of it is enough, since the payload names the dictionary.
    dictionary.get_mut(4..8)?.copy_from_slice(&1_u32.to_le_bytes());
    Some(dictionary)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = String> {
        prop_oneof![any::<String>(), "[0-9a-f]{0,70}", "[0-9a-fA-F]{16}", Just("0".repeat(64))]
    }

    fn codecs() -> [Codec; 2] {
        let event = |i: usize| {
            let tags = vec![vec!["t".into(), format!("topic{}", i % 7)], vec!["e".into(), format!("{i:064x}")]];
            (tags, format!("what people write is seldom random {i} \0 and wss://relay{}.example/ repeats", i % 11))
        };
        let events: Vec<_> = (0..3_000).map(event).collect();
        let trained = Codec::default();
        trained.add_dictionary(&train(&events).expect("trained"));
        [Codec::default(), trained]
    }

    #[test]
    fn packing_round_trips() {
        let codecs = codecs();
        let packed = |tags: Vec<Vec<String>>, content: String| {
            for codec in &codecs {
                let payload = codec.pack(&tags, &content);
                prop_assert_eq!(codec.unpack(&payload).expect("unpacked"), (tags.clone(), content.clone()));
                // Damage leads to an error or to another event, never to a panic or a read out of bounds.
                for cut in 0..payload.len().min(64) {
                    let _ = codec.unpack(&payload[..cut]);
                    let mut bent = payload.clone();
                    bent[cut] ^= 0x81;
                    let _ = codec.unpack(&bent);
                }
            }
            let inline = pack_tags(&tags, Some(&content));
            prop_assert_eq!(unpack_tags(&inline).expect("unpacked"), (tags, content));
            Ok(())
        };
        let tags = prop::collection::vec(prop::collection::vec(value(), 0..5), 0..6);
        proptest!(|(tags in tags, content: String)| packed(tags, content)?);
    }

    #[test]
    fn a_dictionary_improves_compression() {
        let [without, with] = codecs();
        let tags = vec![vec!["t".to_owned(), "topic3".to_owned()]];
        let content = "what people write is seldom random 5000 \0 and wss://relay4.example/ repeats";
        assert!(with.pack(&tags, content).len() * 2 < without.pack(&tags, content).len());
        assert!(matches!(without.unpack(&with.pack(&tags, content)), Err(StorageError::UnknownDictionary(1))));
    }
}
