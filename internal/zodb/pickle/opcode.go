package pickle

import "fmt"

// Opcodes, as Python's pickletools names them: those that are written, or looked at
// one by one.
const (
	OpMark           = '('
	OpStop           = '.'
	OpInt            = 'I'
	OpNone           = 'N'
	OpReduce         = 'R'
	OpBuild          = 'b'
	OpGlobal         = 'c'
	OpSetItem        = 's'
	OpTuple          = 't'
	OpSetItems       = 'u'
	OpBinInt         = 'J'
	OpBinInt1        = 'K'
	OpBinInt2        = 'M'
	OpBinFloat       = 'G'
	OpBinPersid      = 'Q'
	OpBinString      = 'T'
	OpShortBinString = 'U'
	OpBinUnicode     = 'X'
	OpBinGet         = 'h'
	OpLongBinGet     = 'j'
	OpBinPut         = 'q'
	OpLongBinPut     = 'r'
	OpEmptyTuple     = ')'
	OpEmptyDict      = '}'
	OpBinBytes       = 'B'
	OpShortBinBytes  = 'C'
	OpProto          = 0x80
	OpTuple1         = 0x85
	OpTuple2         = 0x86
	OpTuple3         = 0x87
	OpNewTrue        = 0x88
	OpNewFalse       = 0x89
	OpLong1          = 0x8a

	opString  = 'S'
	opUnicode = 'V'
	opPersid  = 'P'
	opFrame   = 0x95
)

const maxProto = 5

// opcode says what follows an opcode, and what the opcode does.
type opcode struct {
	arg uint8                              // how many bytes, if it is no more than 8
	do  func(m *Machine, arg []byte) error // nil for bytes that are no opcodes
}

// Other arguments.
const (
	counted = 0x10 // as many bytes as so many bytes before tell
	lines   = 0x20 // so many lines
	nArg    = 0x0f // how many
)

// opcodes has all opcodes of protocols 0 to 5.
var opcodes = [256]opcode{
	OpMark: {do: (*Machine).mark},
	OpStop: {do: (*Machine).unknown}, // ends what the steps are for
	'0':    {do: (*Machine).drop},
	'1':    {do: func(m *Machine, _ []byte) error { _, err := m.popMark(); return err }},
	'2':    {do: (*Machine).dup},

	OpNone:     {do: func(m *Machine, _ []byte) error { return m.push(val{kind: KindNone}) }},
	OpNewTrue:  {do: func(m *Machine, _ []byte) error { return m.other(true) }},
	OpNewFalse: {do: func(m *Machine, _ []byte) error { return m.other(false) }},
	OpInt:      {arg: lines | 1, do: (*Machine).textInt},
	'L':        {arg: lines | 1, do: (*Machine).textLong},
	'F':        {arg: lines | 1, do: (*Machine).textFloat},
	OpBinInt1:  {arg: 1, do: (*Machine).binInt},
	OpBinInt2:  {arg: 2, do: (*Machine).binInt},
	OpBinInt:   {arg: 4, do: (*Machine).binInt},
	OpLong1:    {arg: counted | 1, do: (*Machine).long},
	0x8b:       {arg: counted | 4, do: (*Machine).long}, // LONG4
	'G':        {arg: 8, do: (*Machine).binFloat},

	opString:         {arg: lines | 1, do: (*Machine).textString},
	OpBinString:      {arg: counted | 4, do: (*Machine).bytes},
	OpShortBinString: {arg: counted | 1, do: (*Machine).bytes},
	OpBinBytes:       {arg: counted | 4, do: (*Machine).bytes},
	OpShortBinBytes:  {arg: counted | 1, do: (*Machine).bytes},
	0x8e:             {arg: counted | 8, do: (*Machine).bytes}, // BINBYTES8
	0x96:             {arg: counted | 8, do: (*Machine).byteArray},
	opUnicode:        {arg: lines | 1, do: (*Machine).textUnicode},
	OpBinUnicode:     {arg: counted | 4, do: (*Machine).unicode},
	0x8c:             {arg: counted | 1, do: (*Machine).unicode}, // SHORT_BINUNICODE
	0x8d:             {arg: counted | 8, do: (*Machine).unicode}, // BINUNICODE8

	OpEmptyTuple: {do: func(m *Machine, _ []byte) error { return m.tuple(0) }},
	OpTuple1:     {do: func(m *Machine, _ []byte) error { return m.tuple(1) }},
	OpTuple2:     {do: func(m *Machine, _ []byte) error { return m.tuple(2) }},
	OpTuple3:     {do: func(m *Machine, _ []byte) error { return m.tuple(3) }},
	OpTuple:      {do: (*Machine).markTuple},
	']':          {do: func(m *Machine, _ []byte) error { return m.list(nil) }},
	'l':          {do: (*Machine).markList},
	'a':          {do: (*Machine).appendOne},
	'e':          {do: (*Machine).appendMany},
	OpEmptyDict:  {do: func(m *Machine, _ []byte) error { return m.dict(nil) }},
	'd':          {do: (*Machine).markDict},
	OpSetItem:    {do: (*Machine).setOne},
	OpSetItems:   {do: (*Machine).setMany},
	0x8f:         {do: func(m *Machine, _ []byte) error { return m.set("set", nil) }}, // EMPTY_SET
	0x90:         {do: (*Machine).appendMany},                                         // ADDITEMS
	0x91:         {do: (*Machine).frozenSet},

	'p':          {arg: lines | 1, do: (*Machine).textPut},
	OpBinPut:     {arg: 1, do: (*Machine).binPut},
	OpLongBinPut: {arg: 4, do: (*Machine).binPut},
	0x94:         {do: func(m *Machine, _ []byte) error { return m.put(uint64(m.nmemo)) }}, // MEMOIZE
	'g':          {arg: lines | 1, do: (*Machine).textGet},
	OpBinGet:     {arg: 1, do: (*Machine).binGet},
	OpLongBinGet: {arg: 4, do: (*Machine).binGet},

	OpGlobal:    {arg: lines | 2, do: (*Machine).global},
	0x93:        {do: (*Machine).stackGlobal},
	OpReduce:    {do: (*Machine).reduce},
	OpBuild:     {do: (*Machine).build},
	'i':         {arg: lines | 2, do: (*Machine).inst},
	'o':         {do: (*Machine).obj},
	0x81:        {do: func(m *Machine, _ []byte) error { return m.newObj(false) }}, // NEWOBJ
	0x92:        {do: func(m *Machine, _ []byte) error { return m.newObj(true) }},  // NEWOBJ_EX
	opPersid:    {arg: lines | 1, do: (*Machine).textPersid},
	OpBinPersid: {do: (*Machine).binPersid},

	OpProto: {arg: 1, do: (*Machine).proto},
	opFrame: {arg: 8, do: func(*Machine, []byte) error { return nil }},

	// EXT1, EXT2 and EXT4 need a registry of the writer, and NEXT_BUFFER and
	// READONLY_BUFFER data outside of the pickle.
	0x82: {arg: 1, do: (*Machine).unknown},
	0x83: {arg: 2, do: (*Machine).unknown},
	0x84: {arg: 4, do: (*Machine).unknown},
	0x97: {do: (*Machine).unknown},
	0x98: {do: (*Machine).unknown},
}

func (m *Machine) unknown(arg []byte) error {
	return m.errorf("%s", unknown(m.data[m.pos-len(arg)-1]))
}

func unknown(op byte) string { return fmt.Sprintf("opcode %#02x is not known", op) }

func (m *Machine) proto(arg []byte) error {
	if arg[0] > maxProto {
		return m.errorf("pickle protocol %d is not known", arg[0])
	}
	return nil
}

// Size returns the size of the opcode that data begins with, and of its argument.
// The error is an *Error.
func Size(data []byte) (int, error) {
	m := Machine{data: data}
	if len(data) == 0 {
		return 0, m.truncated()
	}
	_, err := m.arg(&opcodes[data[0]])
	return m.pos, err
}
