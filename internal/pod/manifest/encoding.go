package manifest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"regexp"
	"unicode/utf16"
	"unicode/utf8"
)

// mark is the byte order mark in UTF-8.
const mark = "\ufeff"

// decodeText returns a text in UTF-8 without byte order marks. It reads UTF-16 as
// YAML does: by its mark, or by the zero byte beside the first character.
// https://yaml.org/spec/1.2.2/#52-character-encodings
//
// A mark at the beginning of a later line is where files were concatenated.
func decodeText(text []byte) ([]byte, error) {
	var err error
	if order := utf16Order(text); order != nil {
		text, err = decodeUTF16(text, order)
	}
	if !bytes.Contains(text, []byte(mark)) {
		return text, err
	}
	return regexp.MustCompile(`(?m)^`+mark+`+`).ReplaceAll(text, nil), err
}

func utf16Order(text []byte) binary.ByteOrder {
	if len(text) < 2 {
		return nil
	}
	switch first, second := text[0], text[1]; {
	case first == 0xFF && second == 0xFE, first != 0 && second == 0:
		return binary.LittleEndian
	case first == 0xFE && second == 0xFF, first == 0 && second != 0:
		return binary.BigEndian
	}
	return nil
}

func decodeUTF16(text []byte, order binary.ByteOrder) ([]byte, error) {
	out := make([]byte, 0, len(text))
	valid := len(text)%2 == 0
	for at := 0; at+1 < len(text); at += 2 {
		r := rune(order.Uint16(text[at:]))
		if utf16.IsSurrogate(r) {
			low := rune(utf8.RuneError)
			if at+3 < len(text) {
				low = rune(order.Uint16(text[at+2:]))
			}
			r = utf16.DecodeRune(r, low)
			if valid = valid && r != utf8.RuneError; r != utf8.RuneError {
				at += 2
			}
		}
		out = utf8.AppendRune(out, r)
	}
	if !valid {
		return out, errors.New("the text begins as UTF-16 but isn't valid UTF-16: save the file as UTF-8")
	}
	return out, nil
}
