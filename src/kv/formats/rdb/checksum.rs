//! CRC-64 with the Jones polynomial, reflected, eight bytes at a time: what files and payloads end with.

const BYTES_AT_ONCE: usize = 8;

/// Goes on from what came before; from 0 at the beginning.
#[must_use]
pub fn crc64(before: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<BYTES_AT_ONCE>();
    let crc = words.iter().fold(before, |crc, word| {
        let word = (crc ^ u64::from_le_bytes(*word)).to_le_bytes();
        word.iter().zip(TABLES.iter().rev()).fold(0, |crc, (byte, table)| crc ^ table[usize::from(*byte)])
    });
    rest.iter().fold(crc, |crc, byte| TABLES[0][usize::from(crc as u8 ^ byte)] ^ (crc >> 8))
}

/// What a byte becomes with so many bytes of zeros behind it.
static TABLES: [[u64; 256]; BYTES_AT_ONCE] = tables();

const fn tables() -> [[u64; 256]; BYTES_AT_ONCE] {
    /// 0xad93d23594c935a9 with its bits in reverse order.
    const POLYNOMIAL: u64 = 0xad93_d235_94c9_35a9_u64.reverse_bits();
    let mut tables = [[0; 256]; BYTES_AT_ONCE];
    let mut index = 0;
    while index < 256 {
        let mut crc = index as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        tables[0][index] = crc;
        index += 1;
    }
    let mut zeros = 1;
    while zeros < BYTES_AT_ONCE {
        let mut index = 0;
        while index < 256 {
            let crc = tables[zeros - 1][index];
            tables[zeros][index] = tables[0][(crc & 0xff) as usize] ^ (crc >> 8);
            index += 1;
        }
        zeros += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_redis_in_whatever_pieces_it_is_made() {
        assert_eq!(crc64(0, b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        let bytes: Vec<u8> = (0..100u8).collect();
        for cut in 0..bytes.len() {
            assert_eq!(crc64(crc64(0, &bytes[..cut]), &bytes[cut..]), crc64(0, &bytes));
        }
    }
}
