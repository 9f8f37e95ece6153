package zeo

import (
	"encoding/hex"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/pickle"
)

// captured messages of a ZEO 6 server and its Python client.
var captured = []struct {
	codec codec
	hex   string
	say   string // id flag name value
	ours  bool   // we write it byte for byte like that
}{
	{codecZ{}, "8003284b0189580800000072656769737465725801000000318986742e", "1 0 register 1, false", true},
	{codecZ{}, "8003284b014b0058060000002e7265706c7943080000000000000000742e", `1 0 .reply "\x00\x00\x00\x00\x00\x00\x00\x00"`, true},
	{codecZ{}, "8003284b0589580a0000006c6f61644265666f7265430800000000000000004308040d2302e7d3880186742e", `5 0 loadBefore "\x00\x00\x00\x00\x00\x00\x00\x00", "\x04\r#\x02\xe7ӈ\x01"`, true},
	{codecZ{}, "8003284b054b0058060000002e7265706c79430544415441304308040d2302e7d388004e87742e", `5 0 .reply "DATA0", "\x04\r#\x02\xe7ӈ\x00", <nil>`, true},
	{codecZ{}, "8003284b064b0058060000002e7265706c794e742e", "6 0 .reply <nil>", true},
	{codecZ{}, "8003284b044b0258060000002e7265706c79581d0000005a4f44422e504f53457863657074696f6e2e504f534b65794572726f72430800000000000000008586742e", `4 2 .reply ZODB.POSException.POSKeyError, "\x00\x00\x00\x00\x00\x00\x00\x00"`, true},
	{codecZ{}, "8003284b00885815000000696e76616c69646174655472616e73616374696f6e4308040d2302e7d388005d430800000000000000006186742e", `0 1 invalidateTransaction "\x04\r#\x02\xe7ӈ\x00", "\x00\x00\x00\x00\x00\x00\x00\x00"`, false},
	{codecZ{}, "8003284b00885815000000696e76616c69646174655472616e73616374696f6e4308040d2302e8038e115d86742e", `0 1 invalidateTransaction "\x04\r#\x02\xe8\x03\x8e\x11", `, false},
	{codecZ{}, "8003284affffffff4b0058060000002e7265706c794e742e", "-1 0 .reply <nil>", true},
	// A server with Python 2: byte strings for names, and a LONG1.
	{codecZ{}, "8003288a010549303030300a55062e7265706c7955080000000000000001742e", `5 0 .reply "\x00\x00\x00\x00\x00\x00\x00\x01"`, false},

	{codecM{}, "9401c2a8726567697374657292a131c2", "1 0 register 1, false", true},
	{codecM{}, "940100a62e7265706c79c4080000000000000000", `1 0 .reply "\x00\x00\x00\x00\x00\x00\x00\x00"`, true},
	{codecM{}, "9405c2aa6c6f61644265666f726592c4080000000000000000c408040d2302ea6757ab", `5 0 loadBefore "\x00\x00\x00\x00\x00\x00\x00\x00", "\x04\r#\x02\xeagW\xab"`, true},
	{codecM{}, "940500a62e7265706c7993c4054441544130c408040d2302ea6757aac0", `5 0 .reply "DATA0", "\x04\r#\x02\xeagW\xaa", <nil>`, true},
	{codecM{}, "940402a62e7265706c7992bd5a4f44422e504f53457863657074696f6e2e504f534b65794572726f7291c4080000000000000000", `4 2 .reply ZODB.POSException.POSKeyError, "\x00\x00\x00\x00\x00\x00\x00\x00"`, true},
	{codecM{}, "9400c3b5696e76616c69646174655472616e73616374696f6e92c408040d2302ea6757aa91c4080000000000000000", `0 1 invalidateTransaction "\x04\r#\x02\xeagW\xaa", "\x00\x00\x00\x00\x00\x00\x00\x00"`, true},
	{codecM{}, "94ff00a62e7265706c79c0", "-1 0 .reply <nil>", true},
	// A server with Python 2: bin for names.
	{codecM{}, "9405cd0000c4062e7265706c79c0", "5 0 .reply <nil>", false},
}

func TestCapturedMessagesAreUnderstoodAndWrittenAlike(t *testing.T) {
	for _, c := range captured {
		data, err := hex.DecodeString(c.hex)
		require.NoError(t, err)
		m, err := c.codec.decode(data)
		require.NoError(t, err, c.hex)
		require.Equal(t, c.say, fmt.Sprintf("%d %d %s %s", m.id, m.flag, m.name, describe(m.value, 3)))
		if c.ours {
			require.Equal(t, c.hex, hex.EncodeToString(c.codec.append(nil, m)))
		}
	}
}

func TestValuesSurviveBothCodecs(t *testing.T) {
	value := pickle.Tuple{
		nil, true, false, int64(0), int64(255), int64(256), int64(65536), int64(math.MaxInt64), int64(math.MinInt64), int64(-1),
		1.5, "", "text é", pickle.Bytes(""), pickle.Bytes(strings.Repeat("\xff", 255)), pickle.Bytes(strings.Repeat("\x80", 70000)),
		pickle.Tuple{}, pickle.Tuple{int64(1)}, pickle.Tuple{int64(1), nil, "x"}, bytes8(zodb.Oid(1 << 63)),
		&pickle.Dict{Items: []pickle.Item{{Key: "k", Value: pickle.Tuple{int64(7)}}}},
	}
	for _, c := range []codec{codecZ{}, codecM{}} {
		m, err := c.decode(c.append(nil, message{id: 1 << 30, flag: flagOneWay, name: "m", value: value}))
		require.NoError(t, err)
		require.Equal(t, message{id: 1 << 30, flag: flagOneWay, name: "m", value: value}, m)
	}
}

func TestHostileMessagesAreRefusedInLittleMemory(t *testing.T) {
	for name, c := range map[string]struct {
		codec codec
		data  string
	}{
		"array of 4 G":     {codecM{}, "\xdd\xff\xff\xff\xff"},
		"array of 256 M":   {codecM{}, "\x94\x01\x00\xa1x\xdd\x10\x00\x00\x00"},
		"map of 64 M":      {codecM{}, "\xdf\x04\x00\x00\x00"},
		"bin of 2 G":       {codecM{}, "\xc6\x7f\xff\xff\xff"},
		"str of 2 G":       {codecM{}, "\xdb\x7f\xff\xff\xff"},
		"nested":           {codecM{}, strings.Repeat("\x91", 1<<20)},
		"extension":        {codecM{}, "\x94\x01\x00\xa1x\xd6\xff\x00\x00\x00\x00"},
		"behind the end":   {codecM{}, "\x94\x01\x00\xa1x\xc0\xc0"},
		"big unsigned":     {codecM{}, "\x94\xcf\xff\xff\xff\xff\xff\xff\xff\xff\x00\xa1x\xc0"},
		"bytes of 4 G":     {codecZ{}, "\x80\x03B\xff\xff\xff\xff."},
		"three values":     {codecZ{}, "\x80\x03(K\x01K\x00X\x01\x00\x00\x00xt."},
		"number is text":   {codecZ{}, "\x80\x03(X\x00\x00\x00\x00K\x00X\x01\x00\x00\x00xNt."},
		"nothing":          {codecZ{}, ""},
		"nothing, msgpack": {codecM{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			allocated := testing.AllocsPerRun(1, func() {
				_, err := c.codec.decode([]byte(c.data))
				var protocol *ProtocolError
				require.ErrorAs(t, err, &protocol)
			})
			require.Less(t, allocated, 1000.)
		})
	}
}
