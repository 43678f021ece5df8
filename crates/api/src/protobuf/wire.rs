//! The protobuf wire format: tags, varints, and lengths, as slices of the body.

/// The value of one field on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payload<'a> {
    /// A varint: integers and booleans.
    Varint(u64),
    /// Bytes with a length: texts, messages, packed lists.
    Bytes(&'a [u8]),
    /// Four or eight bytes: no kind of ours has such a field.
    Fixed,
}

/// The fields of a message: number and payload, in the order of the wire; ends after the first error.
pub(crate) fn fields(bytes: &[u8]) -> impl Iterator<Item = Result<(u64, Payload<'_>), String>> {
    let mut rest = Some(bytes);
    std::iter::from_fn(move || {
        let mut bytes = rest.take().filter(|bytes| !bytes.is_empty())?;
        let field = field(&mut bytes);
        if field.is_some() {
            rest = Some(bytes);
        }
        Some(field.ok_or_else(|| "the protobuf message is cut short or malformed".to_owned()))
    })
}

/// The varints of a packed list.
pub(super) fn packed(mut bytes: &[u8]) -> Result<Vec<u64>, String> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        found.push(varint(&mut bytes).ok_or("a packed list is cut short")?);
    }
    Ok(found)
}

fn field<'a>(bytes: &mut &'a [u8]) -> Option<(u64, Payload<'a>)> {
    let tag = varint(bytes)?;
    let payload = match tag & 7 {
        0 => Payload::Varint(varint(bytes)?),
        1 => take(bytes, 8).map(|_| Payload::Fixed)?,
        2 => {
            let length = usize::try_from(varint(bytes)?).ok()?;
            Payload::Bytes(take(bytes, length)?)
        }
        5 => take(bytes, 4).map(|_| Payload::Fixed)?,
        _ => return None,
    };
    Some((tag >> 3, payload))
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (head, tail) = bytes.split_at_checked(length)?;
    *bytes = tail;
    Some(head)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, tail) = bytes.split_first()?;
        *bytes = tail;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}
