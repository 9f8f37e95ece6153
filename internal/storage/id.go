package storage

// ParseID parses the text form of a Tid or Oid: exactly 16 lower-case hexadecimal
// digits. Upper case is refused: one object would have two names.
func ParseID(s string) (id uint64, ok bool) {
	if len(s) != 16 {
		return 0, false
	}
	for _, c := range []byte(s) {
		switch {
		case '0' <= c && c <= '9':
			id = id<<4 | uint64(c-'0')
		case 'a' <= c && c <= 'f':
			id = id<<4 | uint64(c-'a'+10)
		default:
			return 0, false
		}
	}
	return id, true
}
