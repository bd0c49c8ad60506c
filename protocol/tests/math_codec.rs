//! The codecs, held against what they promise: errors, expectation, form, and what they refuse.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use protocol::rng::Seed;
use protocol::shard::codec::Known;
use protocol::shard::cut::cut;
use protocol::shard::fault::{DecodeError, NotFinite};
use protocol::wire::choice::Codec;

/// Values of very different magnitudes, as parameters have, and a few special ones.
fn values(len: impl Into<prop::collection::SizeRange>) -> impl Strategy<Value = Vec<f32>> {
    let value = prop_oneof![
        8 => (-30i32..4, -1.0f32..1.0).prop_map(|(power, x)| x * 2f32.powi(power)),
        1 => Just(0.0f32),
        1 => Just(-0.0f32),
        1 => -65_504.0f32..65_504.0,
    ];
    prop::collection::vec(value, len)
}

fn encoded(codec: Codec, values: &[f32], seed: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let stats = codec.encode(values, &Seed::from_u64(seed), &mut bytes).expect("finite values encode");
    assert_eq!(stats.bytes, bytes.len());
    bytes
}

fn round_trip(codec: Codec, values: &[f32], seed: u64) -> Vec<f32> {
    let mut decoded = vec![f32::NAN; values.len()];
    codec.decode(&encoded(codec, values, seed), &mut decoded).expect("own bytes decode");
    decoded
}

/// Codecs under which every update says all of its values.
fn whole() -> impl Iterator<Item = Codec> {
    Codec::ALL.iter().copied().filter(|codec| !codec.is_sparse())
}

/// Largest error of one value under a codec; `block_max` is the largest magnitude of its block.
fn bound(codec: Codec, value: f32, block_max: f32) -> f32 {
    // A scale is rounded up by at most 2^-10 of itself or one subnormal half-precision step.
    let step = |levels: f32| block_max / levels * 1.001 + 6e-8;
    match codec {
        Codec::F32 => 0.0,
        Codec::F16 => value.abs() * 2f32.powi(-11) + 2f32.powi(-25),
        Codec::Bf16 => value.abs() * 2f32.powi(-8),
        Codec::Int8 | Codec::Topk => step(127.0) * 1.0001,
        Codec::Int4 | Codec::Lattice4 => step(7.0) * 1.0001,
    }
}

fn block(codec: Codec) -> usize {
    match codec {
        Codec::Int8 | Codec::Lattice4 => 64,
        Codec::Int4 => 32,
        Codec::Topk => 1_024,
        Codec::F32 | Codec::F16 | Codec::Bf16 => 1,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn decoding_gives_what_was_encoded_within_the_codecs_bound(values in values(0..400), seed: u64) {
        for codec in whole() {
            let decoded = round_trip(codec, &values, seed);
            for (chunk, decoded) in values.chunks(block(codec)).zip(decoded.chunks(block(codec))) {
                let block_max = chunk.iter().fold(0f32, |max, v| max.max(v.abs()));
                for (v, d) in chunk.iter().zip(decoded) {
                    prop_assert!((v - d).abs() <= bound(codec, *v, block_max), "{codec}: {v} became {d}");
                }
            }
        }
    }

    #[test]
    fn a_sparse_update_says_what_moved_farthest_and_leaves_the_readers_own_elsewhere(
        pairs in prop::collection::vec((-1e4f32..1e4, -1e4f32..1e4, -1e4f32..1e4), 0..3_000),
        seed: u64,
    ) {
        let [values, said, own] = [0, 1, 2].map(|part| pairs.iter().map(|p| [p.0, p.1, p.2][part]).collect::<Vec<f32>>());
        let (mut bytes, mut read) = (Vec::new(), vec![f32::NAN; values.len()]);
        let known = Known { said: &said, ..Known::default() };
        Codec::Topk.encode_knowing(&values, known, &Seed::from_u64(seed), &mut bytes).unwrap();
        prop_assert_eq!(Codec::Topk.decode_near(&bytes, &own, &mut read), Ok(0));
        prop_assert_eq!(Codec::Topk.decode(&bytes, &mut read.clone()), Err(DecodeError::Partial));
        for start in (0..values.len()).step_by(block(Codec::Topk)) {
            let end = values.len().min(start + block(Codec::Topk));
            let (told, kept): (Vec<usize>, Vec<usize>) = (start..end).partition(|&i| read[i] != own[i]);
            // A value told may by chance be the reader's own.
            prop_assert!(told.len() <= (end - start).div_ceil(16));
            let block_max = values[start..end].iter().fold(0f32, |max, v| max.max(v.abs()));
            for i in &told {
                prop_assert!((read[*i] - values[*i]).abs() <= bound(Codec::Topk, values[*i], block_max));
            }
            let moved = |i: &usize| (values[*i] - said[*i]).abs();
            let least = told.iter().map(moved).fold(f32::INFINITY, f32::min);
            let most = kept.iter().filter(|i| read[**i] == own[**i]).map(moved).fold(0f32, f32::max);
            prop_assert!(told.len() < (end - start).div_ceil(16) || most <= least, "{most} {least}");
        }
    }

    #[test]
    fn sparse_bytes_that_are_read_at_all_say_as_many_values_as_their_length_asks(
        count in 1usize..2_100,
        noise: u64,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let values: Vec<f32> = (0..count).map(|i| ((i * 37 % 71) as f32 - 35.0) / 64.0).collect();
        let mut bytes = encoded(Codec::Topk, &values, noise);
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let own = vec![1e30f32; count];
        let mut read = own.clone();
        if Codec::Topk.decode_near(&bytes, &own, &mut read).is_ok() {
            let blocks = count / 1_024 * 64 + (count % 1_024).div_ceil(16);
            prop_assert_eq!(read.iter().filter(|r| **r != 1e30).count(), blocks);
            prop_assert!(read.iter().all(|r| r.is_finite()));
        }
    }

    #[test]
    fn one_seed_gives_one_encoding_and_its_length_is_known(values in values(0..300), seed: u64) {
        for &codec in Codec::ALL {
            let bytes = encoded(codec, &values, seed);
            prop_assert_eq!(bytes.len(), codec.encoded_bytes(values.len()));
            prop_assert_eq!(encoded(codec, &values, seed), bytes);
        }
    }

    #[test]
    fn what_was_decoded_encodes_to_itself_in_the_plain_codecs(values in values(1..300)) {
        for codec in [Codec::F32, Codec::F16, Codec::Bf16] {
            let once = round_trip(codec, &values, 0);
            prop_assert_eq!(round_trip(codec, &once, 1), once);
        }
    }

    #[test]
    fn any_bytes_decode_to_finite_normal_values_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        for &codec in Codec::ALL {
            for count in [0, 1, 31, 32, 33, 64, 65, 130] {
                let mut decoded = vec![0.0; count];
                let result = codec.decode(&bytes, &mut decoded);
                if bytes.len() == codec.encoded_bytes(count) {
                    if result.is_ok() {
                        prop_assert!(decoded.iter().all(|v| v.is_finite() && !v.is_subnormal()), "{codec}");
                    }
                    let mut near = vec![0.0; count];
                    if codec.decode_near(&bytes, &vec![0.0; count], &mut near).is_ok() {
                        prop_assert!(near.iter().all(|v| v.is_finite() && !v.is_subnormal()), "{codec}");
                    }
                } else {
                    let expected = codec.encoded_bytes(count);
                    prop_assert_eq!(result, Err(DecodeError::Length { expected, found: bytes.len() }));
                }
            }
        }
    }

    #[test]
    fn bytes_the_block_codecs_accept_are_bounded_by_the_largest_scale(
        mut bytes in prop::collection::vec(any::<u8>(), 66),
    ) {
        bytes[1] &= 0x7b; // a finite scale of at least 0
        let mut decoded = vec![0.0; 64];
        if Codec::Int8.decode(&bytes, &mut decoded).is_ok() {
            prop_assert!(decoded.iter().all(|v| v.abs() <= 127.0 * 65_504.0));
        } else {
            let unused = bytes[2..].contains(&0x80);
            prop_assert!(unused || bytes[..2] == [0, 0]);
        }
    }
}

#[test]
fn int8_takes_exactly_eight_and_a_quarter_bits() {
    for blocks in [1usize, 7, 16_000] {
        assert_eq!(Codec::Int8.encoded_bytes(blocks * 64) * 8 * 4, blocks * 64 * 33);
        assert_eq!(Codec::Int4.encoded_bytes(blocks * 64) * 8 * 2, blocks * 64 * 9);
        assert_eq!(Codec::Lattice4.encoded_bytes(blocks * 64) * 8 * 2, blocks * 64 * 9);
    }
    // 0.89 bits, and 1.81 with every eighth update whole.
    assert_eq!(Codec::Topk.encoded_bytes(7 * 1_024), 7 * 114);
    assert_eq!(Codec::Int8.encoded_bytes(65), 66 + 3);
    assert_eq!(Codec::Int4.encoded_bytes(33), 18 + 3);
}

/// Rounds the same block many times with different seeds; the mean must come close to each value.
fn mean_error(codec: Codec, values: &[f32], rounds: u64) -> (f64, f64) {
    let mut sums = vec![0f64; values.len()];
    for seed in 0..rounds {
        for (sum, decoded) in sums.iter_mut().zip(round_trip(codec, values, seed)) {
            *sum += f64::from(decoded);
        }
    }
    let errors = sums.iter().zip(values).map(|(sum, v)| sum / rounds as f64 - f64::from(*v));
    let errors: Vec<f64> = errors.collect();
    let mean = errors.iter().sum::<f64>() / errors.len() as f64;
    (errors.iter().fold(0f64, |max, e| max.max(e.abs())), mean)
}

#[test]
fn stochastic_rounding_is_right_on_average() {
    let mut rng = Seed::from_u64(21).rng();
    let values: Vec<f32> = (0..1_000).map(|_| (rng.unit_f64() as f32 - 0.5) * 0.2).collect();
    for (codec, levels) in [(Codec::Int8, 127.0f64), (Codec::Int4, 7.0)] {
        let rounds = 4_000;
        let step = 0.1 / levels;
        let (worst, mean) = mean_error(codec, &values, rounds);
        // One rounding deviates by at most step / 2; the mean of 4,000 by 1/63 of that, five of which bound the worst
        // of a thousand values; the mean over all values is 31 times closer still.
        let deviation = step / 2.0 / (rounds as f64).sqrt();
        assert!(worst < 5.0 * deviation, "{codec}: {worst} {deviation}");
        assert!(mean.abs() < 5.0 * deviation / 1_000f64.sqrt(), "{codec}: {mean} {deviation}");
    }
}

#[test]
fn two_seeds_round_differently_and_neighbouring_errors_are_independent() {
    let values = vec![0.05f32; 6_400];
    let errors = |seed: u64| -> Vec<f64> {
        let mut shifted = values.clone();
        shifted.iter_mut().step_by(64).for_each(|v| *v = 0.1); // sets the scale of every block
        round_trip(Codec::Int8, &shifted, seed)
            .iter()
            .zip(&shifted)
            .map(|(d, v)| f64::from(*d) - f64::from(*v))
            .collect()
    };
    let (a, b) = (errors(1), errors(2));
    let power = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    let own = power(&a, &a);
    assert!(own > 0.0);
    // Correlations of 6,400 independent errors deviate by 1/80.
    assert!((power(&a, &b) / own).abs() < 5.0 / 80.0, "between seeds");
    assert!((power(&a[1..], &a[..6_399]) / own).abs() < 5.0 / 80.0, "between neighbours");
}

/// The same bytes on every machine: the format and the noise are part of the protocol's tests, not of chance.
#[test]
fn the_encoding_of_known_values_is_known() {
    let values: Vec<f32> = (0..70).map(|i| ((i * 37 % 71) as f32 - 35.0) / 64.0).collect();
    let hashes: Vec<String> = Codec::ALL
        .iter()
        .map(|codec| protocol::crypto::hash::content_hash(&encoded(*codec, &values, 7)).short())
        .collect();
    assert_eq!(hashes, GOLDEN);
}

const GOLDEN: [&str; 7] =
    ["7fd773d5", "c117d8a6", "94d838bd", "7a36eda2", "7d04d6a9", "24362f90", "ee158b15"];

#[test]
fn values_that_are_no_numbers_are_not_encoded() {
    for &codec in Codec::ALL {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for index in [0, 63, 64, 1_500] {
                let mut values = vec![0.25f32; 1_600];
                values[index] = bad;
                let mut bytes = vec![9, 9];
                let refused = codec.encode(&values, &Seed::from_u64(0), &mut bytes);
                assert_eq!(refused, Err(NotFinite { index }), "{codec}");
                assert_eq!(bytes, [9, 9], "{codec}: nothing is appended");
            }
        }
    }
}

/// Rows 45 to 51 and 55 of the catalogue of bad input: what a stranger may put into a shard.
#[test]
fn hostile_shards_are_refused_or_harmless() {
    let f16 = |bits: u16| bits.to_le_bytes().to_vec();
    let f32b = |value: f32| value.to_le_bytes().to_vec();
    let bf16 = |bits: u16| bits.to_le_bytes().to_vec();
    // A block of one value: its scale, then its code.
    let int8 = |scale: u16, code: i8| [f16(scale), vec![code as u8]].concat();
    let int4 = |scale: u16, low: u8, high: u8| [f16(scale), vec![low | high << 4]].concat();
    let not_finite = Err(DecodeError::NotFinite { index: 0 });
    let code = Err(DecodeError::Code { block: 0 });
    let scale = |bits| Err(DecodeError::Scale { block: 0, bits });
    type Row = (&'static str, Codec, Vec<u8>, Result<f32, DecodeError>);
    let rows: Vec<Row> = vec![
        ("45 NaN in 32 bits", Codec::F32, f32b(f32::NAN), not_finite),
        ("45 signalling NaN", Codec::F32, f32b(f32::from_bits(0x7f80_0001)), not_finite),
        ("45 NaN in half precision", Codec::F16, f16(0x7e01), not_finite),
        ("45 NaN in bfloat16", Codec::Bf16, bf16(0xffc1), not_finite),
        ("46 +Inf in 32 bits", Codec::F32, f32b(f32::INFINITY), not_finite),
        ("46 -Inf in half precision", Codec::F16, f16(0xfc00), not_finite),
        ("46 -Inf in bfloat16", Codec::Bf16, bf16(0xff80), not_finite),
        ("47 subnormal in 32 bits", Codec::F32, f32b(1e-40), Ok(0.0)),
        ("47 subnormal in bfloat16", Codec::Bf16, bf16(0x0001), Ok(0.0)),
        ("47 half-precision subnormals are normal here", Codec::F16, f16(0x0001), Ok(2f32.powi(-24))),
        ("48 -0.0", Codec::F32, f32b(-0.0), Ok(0.0)),
        ("49 1e30 decodes; the gate judges it", Codec::F32, f32b(1e30), Ok(1e30)),
        ("50 all zeros", Codec::Int8, int8(0, 0), Ok(0.0)),
        ("55 scale 0 under a code", Codec::Int8, int8(0, 1), code),
        ("55 scale NaN", Codec::Int8, int8(0x7e00, 1), scale(0x7e00)),
        ("55 scale +Inf", Codec::Int8, int8(0x7c00, 1), scale(0x7c00)),
        ("55 scale negative", Codec::Int8, int8(0xbc00, 1), scale(0xbc00)),
        ("55 scale -0", Codec::Int8, int8(0x8000, 0), scale(0x8000)),
        ("55 scale subnormal", Codec::Int8, int8(0x0001, 1), Ok(2f32.powi(-24))),
        ("   code -128", Codec::Int8, int8(0x3c00, -128), code),
        ("55 int4 scale 0 under a code", Codec::Int4, int4(0, 9, 8), code),
        ("55 int4 scale NaN", Codec::Int4, int4(0x7e00, 8, 8), scale(0x7e00)),
        ("55 int4 scale negative", Codec::Int4, int4(0xbc00, 8, 8), scale(0xbc00)),
        ("   int4 code -8", Codec::Int4, int4(0x3c00, 0, 8), code),
        ("   int4 padding", Codec::Int4, int4(0x3c00, 9, 9), code),
        (
            "52 a sparse shard without own values beside it",
            Codec::Topk,
            vec![0, 0x3c, 1, 0, 0],
            Err(DecodeError::Partial),
        ),
        ("   int4 good", Codec::Int4, int4(0x3c00, 11, 8), Ok(3.0)),
    ];
    for (row, codec, bytes, expected) in rows {
        let mut value = [7.0f32];
        let result = codec.decode(&bytes, &mut value).map(|()| value[0]);
        assert_eq!(result, expected, "{row}");
    }
}

/// Row 52: what a stranger may put into a sparse shard; more of it in `shard::topk`.
#[test]
fn hostile_sparse_shards_are_refused() {
    let values: Vec<f32> = (0..1_100).map(|i| ((i * 37 % 71) as f32 - 35.0) / 64.0).collect();
    let good = encoded(Codec::Topk, &values, 7);
    let read = |bytes: &[u8]| Codec::Topk.decode_near(bytes, &vec![0.0; 1_100], &mut vec![0.0; 1_100]);
    assert_eq!(read(&good), Ok(0));
    // The second block, of 76 values, says five: scale, five codes, three bytes of low halves, two of groups.
    let tail = good.len() - 12;
    let changed = |at: usize, bytes: &[u8]| {
        let mut all = good.clone();
        all[at..at + bytes.len()].copy_from_slice(bytes);
        all
    };
    let place = |block| Err(DecodeError::Place { block });
    let rows = [
        ("52 all places the same", changed(2 + 64, &[0; 48]), place(0)),
        ("52 all groups full", changed(2 + 64 + 32, &[0xff; 16]), place(0)),
        ("52 half a byte over", changed(tail + 9, &[0xf0]), place(1)),
        ("52 no place in the last block", changed(tail + 10, &[0, 0]), place(1)),
        ("52 a place beyond the last block", changed(tail + 10, &[0b0000_1111, 0b1000_0000]), place(1)),
        (
            "52 a scale that is no number",
            changed(tail, &[0, 0x7e]),
            Err(DecodeError::Scale { block: 1, bits: 0x7e00 }),
        ),
        ("52 a scale of 0 under codes", changed(tail, &[0, 0]), Err(DecodeError::Code { block: 1 })),
        ("52 the code -128", changed(tail + 2, &[0x80]), Err(DecodeError::Code { block: 1 })),
    ];
    for (row, bytes, expected) in rows {
        assert_eq!(read(&bytes), expected, "{row}");
    }
    for length in [0, 1, good.len() - 1, good.len() + 1, 64 << 10] {
        let expected = Err(DecodeError::Length { expected: good.len(), found: length });
        assert_eq!(read(&vec![0; length]), expected, "52 a length that lies");
    }
}

/// Row 51: values beyond the format are clipped and counted, never infinite.
#[test]
fn values_beyond_the_format_are_clipped_and_counted() {
    for (codec, largest) in
        [(Codec::F16, 65_504.0f32), (Codec::Int8, 65_504.0 * 127.0), (Codec::Int4, 65_504.0 * 7.0)]
    {
        let values = [f32::MAX, -f32::MAX, 1.0];
        let mut bytes = Vec::new();
        let stats = codec.encode(&values, &Seed::from_u64(0), &mut bytes).unwrap();
        assert_eq!(stats.clipped, 2, "{codec}");
        let mut decoded = [0.0; 3];
        codec.decode(&bytes, &mut decoded).unwrap();
        assert_eq!(decoded[..2], [largest, -largest], "{codec}");
    }
    let decoded = round_trip(Codec::Bf16, &[f32::MAX], 0);
    assert!(decoded[0].is_finite() && decoded[0] > 3.3e38);
    assert_eq!(round_trip(Codec::F32, &[f32::MAX], 0), [f32::MAX]);
}

#[test]
fn shards_encoded_apart_decode_to_the_whole_update() {
    let mut rng = Seed::from_u64(4).rng();
    let update: Vec<f32> = (0..100_003).map(|_| (rng.unit_f64() as f32 - 0.5) * 0.01).collect();
    for codec in whole() {
        let mut whole = vec![f32::NAN; update.len()];
        for (index, range) in cut(update.len(), codec).into_iter().enumerate() {
            let mut bytes = Vec::new();
            let seed = Seed::from_u64(1).fork_index(index as u64);
            codec.encode(&update[range.clone()], &seed, &mut bytes).unwrap();
            codec.decode(&bytes, &mut whole[range]).unwrap();
        }
        let worst = update.iter().zip(&whole).fold(0f32, |max, (u, w)| max.max((u - w).abs()));
        assert!(worst <= bound(codec, 0.005, 0.005), "{codec}: {worst}");
    }
}
