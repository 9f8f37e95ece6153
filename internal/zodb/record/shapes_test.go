package record

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wcfs/wcfs/internal/zodb/pickle"
)

// shape is a record as some Python writes it, and what it says.
type shape struct {
	name string
	data string
	want string // class, state as by dump
	fast bool   // a record of arrays, which takes no memory
}

const (
	blk    = "cwendelin.bigfile.file_zodb\n"
	lob    = "cBTrees.LOBTree\n"
	iob    = "cBTrees.IOBTree\n"
	oid7   = "\x00\x00\x00\x00\x00\x00\x00\x07"
	oid8   = "\x00\x00\x00\x00\x00\x00\x00\x08"
	wblk   = "wendelin.bigfile.file_zodb."
	ref7   = "<0000000000000007 "
	ref8   = "<0000000000000008 "
	pm     = "cpersistent.mapping\nPersistentMapping\n"
	enc    = "c_codecs\nencode\nq\x02"
	latin1 = "X\x06\x00\x00\x00latin1"
)

// shapes has the forms of records of each Python and pickle protocol, in their
// smallest size.
func shapes() []shape {
	return []shape{
		// Python 2, protocol 1.
		{"py2-1-zblk0", blk + "ZBlk0\nq\x01.U\x05helloq\x02.", wblk + "ZBlk0 'hello'", true},
		{"py2-1-zblk0-long", blk + "ZBlk0\nq\x01.T\x05\x00\x00\x00he\x00loq\x02.", wblk + "ZBlk0 'he\\x00lo'", true},
		{"py2-1-zblk0-empty", blk + "ZBlk\nq\x01.U\x00.", wblk + "ZBlk ''", true},
		{"py2-1-zblk1", blk + "ZBlk1\nq\x01.(U\x08" + oid7 + "q\x02" + iob + "IOBTree\nq\x03tq\x04Q.", wblk + "ZBlk1 " + ref7 + "BTrees.IOBTree.IOBTree>", true},
		{"py2-1-zbigfile", blk + "ZBigFile\nq\x01.(J\x00\x00 \x00(U\x08" + oid7 + "q\x02" + lob + "LOBTree\nq\x03tQtq\x04.", wblk + "ZBigFile (2097152, " + ref7 + "BTrees.LOBTree.LOBTree>)", true},
		{"py2-1-inline", lob + "LOBTree\nq\x01.((((K\x01(U\x08" + oid7 + "q\x02" + blk + "ZBlk0\nq\x03tQK\x03(U\x08" + oid8 + "q\x04h\x03tQttttq\x05.",
			"BTrees.LOBTree.LOBTree ((((1, " + ref7 + wblk + "ZBlk0>, 3, " + ref8 + wblk + "ZBlk0>))))", true},
		{"py2-1-tree", lob + "LOBTree\nq\x01.(((U\x08" + oid7 + "q\x02" + lob + "LOBucket\nq\x03tQM\x00\x01(U\x08" + oid8 + "q\x04h\x03tQt(h\x02h\x03tQt.",
			"BTrees.LOBTree.LOBTree ((" + ref7 + "BTrees.LOBTree.LOBucket>, 256, " + ref8 + "BTrees.LOBTree.LOBucket>), " + ref7 + "BTrees.LOBTree.LOBucket>)", true},
		{"py2-1-long", lob + "LOBucket\nq\x01.((L5L\nU\x01xI7\nU\x01yL-8589934592L\nU\x01zttq\x02.", "BTrees.LOBTree.LOBucket ((5, 'x', 7, 'y', -8589934592, 'z'))", true},
		// Python 2, protocol 2.
		{"py2-2-zblk0", "\x80\x02" + blk + "ZBlk0\nq\x01.\x80\x02U\x05helloq\x02.", wblk + "ZBlk0 'hello'", true},
		{"py2-2-zblk1", "\x80\x02" + blk + "ZBlk1\nq\x01.\x80\x02U\x08" + oid7 + "q\x02" + iob + "IOBTree\nq\x03\x86q\x04Q.", wblk + "ZBlk1 " + ref7 + "BTrees.IOBTree.IOBTree>", true},
		{"py2-2-bucket", "\x80\x02" + lob + "LOBucket\nq\x01.\x80\x02(\x8a\x05\x00\x00\x00\x80\x00U\x08" + oid7 + "q\x02" + blk + "ZBlk0\nq\x03\x86QJ\xff\xff\xff\x7fU\x08" + oid8 + "q\x04h\x03\x86QtU\x08" + oid8 + "h\x01\x86Q\x86.",
			"BTrees.LOBTree.LOBucket ((2147483648, " + ref7 + wblk + "ZBlk0>, 2147483647, " + ref8 + wblk + "ZBlk0>), " + ref8 + "BTrees.LOBTree.LOBucket>)", true},
		// Python 2, protocol 3: block data stays str, oids are bytes, little is memoized.
		{"py2-3-zblk0", "\x80\x03" + blk + "ZBlk0\nq\x01.\x80\x03T\x05\x00\x00\x00helloq\x02.", wblk + "ZBlk0 'hello'", true},
		{"py2-3-zblk1", "\x80\x03" + blk + "ZBlk1\nq\x01.\x80\x03C\x08" + oid7 + iob + "IOBTree\nq\x02\x86Q.", wblk + "ZBlk1 " + ref7 + "BTrees.IOBTree.IOBTree>", true},
		{"py2-3-bucket", "\x80\x03" + iob + "IOBucket\nq\x01.\x80\x03(K\x00C\x08" + oid7 + blk + "ZData\nq\x02\x86QM\x00\x10C\x08" + oid8 + "h\x02\x86Qt\x85q\x03.",
			"BTrees.IOBTree.IOBucket ((0, " + ref7 + wblk + "ZData>, 4096, " + ref8 + wblk + "ZData>))", true},
		// Python 3.
		{"py3-empty-tree", "\x80\x03" + lob + "LOBTree\nq\x00.\x80\x03N.", "BTrees.LOBTree.LOBTree None", true},
		{"py3-empty-bucket", "\x80\x03" + lob + "LOBucket\nq\x00.\x80\x03)\x85q\x01.", "BTrees.LOBTree.LOBucket (())", true},
		{"py3-one-pair", "\x80\x03" + iob + "IOBTree\nq\x00.\x80\x03K\x00C\x08" + oid7 + "q\x01" + blk + "ZData\nq\x02\x86q\x03Q\x86q\x04\x85q\x05\x85q\x06\x85q\x07.",
			"BTrees.IOBTree.IOBTree ((((0, " + ref7 + wblk + "ZData>))))", true},
		{"py3-three", "\x80\x03" + lob + "LOBTree\nq\x00.\x80\x03C\x08" + oid7 + "q\x01h\x00\x86q\x02QK\x05C\x08" + oid8 + "q\x03h\x00\x86q\x04Q\x87q\x05h\x01" + lob + "LOBucket\nq\x06\x86q\x07Q\x86q\x08.",
			"BTrees.LOBTree.LOBTree ((" + ref7 + "BTrees.LOBTree.LOBTree>, 5, " + ref8 + "BTrees.LOBTree.LOBTree>), " + ref7 + "BTrees.LOBTree.LOBucket>)", true},
		{"py3-zdata", "\x80\x03" + blk + "ZData\nq\x00.\x80\x03B\x05\x00\x00\x00helloq\x01.", wblk + "ZData 'hello'", true},
		{"long-memo", "\x80\x03" + blk + "ZBlk1\nr\x01\x01\x00\x00.\x80\x03C\x08" + oid7 + "r\x02\x01\x00\x00" + iob + "IOBTree\np260\n\x86Q0" + "j\x02\x01\x00\x00g260\n\x86Q.", wblk + "ZBlk1 " + ref7 + "BTrees.IOBTree.IOBTree>", false},
		{"long-memo-get", "\x80\x03" + blk + "ZBlk1\nr\x01\x01\x00\x00.\x80\x03C\x08" + oid7 + "r\x02\x01\x00\x00j\x01\x01\x00\x00\x86r\x03\x01\x00\x00Q.", wblk + "ZBlk1 " + ref7 + wblk + "ZBlk1>", true},
		{"long4", "\x80\x03" + blk + "ZBigFile\nq\x00.\x80\x03\x8b\x02\x00\x00\x00\x00\x10.", wblk + "ZBigFile 4096", true},
		{"bytes8", "\x80\x04" + blk + "ZData\nq\x00.\x80\x04\x8e\x02\x00\x00\x00\x00\x00\x00\x00hi.", wblk + "ZData 'hi'", true},
		// Class descriptions.
		{"form2", "(cm\nC\n(K\x05ttq\x01.N.", "m.C None", true},
		{"form2-args", "cm\nC\nK\x05\x85\x86q\x01.N.", "m.C None", true},
		{"form5", "cm\nC\nN\x86.N.", "m.C None", true},
		{"form3", "((U\x01mq\x01U\x01Cq\x02tNt.N.", "m.C None", true},
		{"form7", "X\x01\x00\x00\x00mX\x01\x00\x00\x00C\x86)\x86.N.", "m.C None", true},
		{"class-in-database", "((U\x08" + oid7 + "cm\nC\ntQ)t.N.", "unknown class None", true},
		// Shapes that only old or other writers write.
		{"codecs-encode", "\x80\x02" + blk + "ZBlk0\nq\x01.\x80\x02" + enc + "X\x03\x00\x00\x00a\xc3\xbfq\x03" + latin1 + "q\x04\x86q\x05Rq\x06.", wblk + "ZBlk0 'a\\xff'", false},
		{"codecs-empty", "\x80\x02" + blk + "ZBlk0\nq\x01.\x80\x02c__builtin__\nbytes\nq\x02)Rq\x03.", wblk + "ZBlk0 ''", false},
		{"protocol-0", blk + "ZBlk0\np1\n.S'he\\x00l'\np2\n.", wblk + "ZBlk0 'he\\x00l'", false},
		{"protocol-0-oid", blk + "ZBlk1\np1\n.(S'\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x07'\np2\n" + iob + "IOBTree\np3\ntp4\nQ.", wblk + "ZBlk1 " + ref7 + "BTrees.IOBTree.IOBTree>", false},
		{"protocol-4", "\x80\x04\x95\x30\x00\x00\x00\x00\x00\x00\x00\x8c\x1awendelin.bigfile.file_zodb\x94\x8c\x05ZData\x94\x93\x94.\x80\x04\x95\x06\x00\x00\x00\x00\x00\x00\x00C\x02hi\x94.", wblk + "ZData 'hi'", false},
		{"bare-oid", "\x80\x03" + blk + "ZBlk1\nq\x00.\x80\x03C\x08" + oid7 + "Q.", wblk + "ZBlk1 " + ref7 + "unknown class>", false},
		{"text-oid", "\x80\x03" + blk + "ZBlk1\nq\x00.\x80\x03X\x08\x00\x00\x00" + oid7 + "Q.", wblk + "ZBlk1 " + ref7 + "unknown class>", false},
		{"weak-ref", "\x80\x03" + blk + "ZBlk1\nq\x00.\x80\x03]q\x01(U\x01wC\x08" + oid7 + "\x85eQ.", wblk + "ZBlk1 other", false},
		{"big-long", "\x80\x02cm\nC\n.\x80\x02\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x00.", "m.C 0", false},
		{"root", "\x80\x03" + pm + "q\x00.\x80\x03}q\x01X\x04\x00\x00\x00dataq\x02}q\x03s.", "persistent.mapping.PersistentMapping other", false},
		{"long-200", "\x80\x02cm\nC\n.\x80\x02]\x8a\xc8" + strings.Repeat("\x01", 200) + "\x86.", "m.C (other, other)", false},
		{"pop-mark", "\x80\x02cm\nC\n.\x80\x02N(N1.", "m.C None", false},
		{"nested", "\x80\x02cm\nC\n.\x80\x02" + strings.Repeat("(", 100) + strings.Repeat("t", 100) + ".", "m.C " + strings.Repeat("(", 100) + strings.Repeat(")", 100), false},
		{"object", "\x80\x02cm\nC\n.\x80\x02cn\nD\n)\x81}U\x01aK\x01sb.", "m.C other", false},
		{"bool", "\x80\x02cm\nC\n.\x80\x02I01\n\x88\x86.", "m.C (other, other)", false},
	}
}

// dump describes a value completely.
func dump(v Value) string {
	switch v.Kind() {
	case pickle.KindBytes:
		b, _ := v.Bytes()
		return "'" + strings.Trim(fmt.Sprintf("%+q", b), `"`) + "'"
	case pickle.KindText:
		s, _ := v.Text()
		return fmt.Sprintf("%+q", s)
	case pickle.KindRef:
		oid, _ := v.Ref()
		return fmt.Sprintf("<%s %s>", oid, v.RefClass())
	case pickle.KindTuple:
		var items []string
		for i := range v.Len() {
			items = append(items, dump(v.At(i)))
		}
		return "(" + strings.Join(items, ", ") + ")"
	case pickle.KindOther:
		return "other"
	}
	return v.String()
}

func TestShapesOfAllPythonsDecode(t *testing.T) {
	for _, s := range shapes() {
		got := ""
		err := Decode([]byte(s.data), func(class Class, state Value) error {
			got = class.String() + " " + dump(state)
			return nil
		})
		if err != nil || got != s.want {
			t.Errorf("%s:\ngot  %s %v\nwant %s", s.name, got, err, s.want)
		}
		class, err := ClassOf([]byte(s.data))
		if err != nil || !strings.HasPrefix(s.want, class.String()+" ") {
			t.Errorf("%s: ClassOf = %s, %v", s.name, class, err)
		}
	}
}
