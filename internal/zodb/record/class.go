package record

// Names that decoding meets all the time are not allocated. The compiler turns
// the conversions into comparisons.

// Modules of the classes that arrays are made of.
const (
	ModuleBigFile = "wendelin.bigfile.file_zodb"
	ModuleLOBTree = "BTrees.LOBTree"
	ModuleIOBTree = "BTrees.IOBTree"
)

// The classes that arrays are made of.
var (
	ZBigFile = Class{ModuleBigFile, "ZBigFile"}
	ZBlk     = Class{ModuleBigFile, "ZBlk"} // name of ZBlk0 in the earliest databases
	ZBlk0    = Class{ModuleBigFile, "ZBlk0"}
	ZBlk1    = Class{ModuleBigFile, "ZBlk1"}
	ZData    = Class{ModuleBigFile, "ZData"}
	LOBTree  = Class{ModuleLOBTree, "LOBTree"}
	LOBucket = Class{ModuleLOBTree, "LOBucket"}
	IOBTree  = Class{ModuleIOBTree, "IOBTree"}
	IOBucket = Class{ModuleIOBTree, "IOBucket"}
)

// ZBigArray is the class of arrays that say what their bytes mean. It is not served.
var ZBigArray = Class{"wendelin.bigarray.array_zodb", "ZBigArray"}

func internModule(b []byte) string {
	switch string(b) {
	case ModuleBigFile:
		return ModuleBigFile
	case ModuleLOBTree:
		return ModuleLOBTree
	case ModuleIOBTree:
		return ModuleIOBTree
	case "persistent.mapping":
		return "persistent.mapping"
	}
	return string(b)
}

func internName(b []byte) string {
	switch string(b) {
	case "ZBigFile":
		return "ZBigFile"
	case "ZBlk":
		return "ZBlk"
	case "ZBlk0":
		return "ZBlk0"
	case "ZBlk1":
		return "ZBlk1"
	case "ZData":
		return "ZData"
	case "LOBTree":
		return "LOBTree"
	case "LOBucket":
		return "LOBucket"
	case "IOBTree":
		return "IOBTree"
	case "IOBucket":
		return "IOBucket"
	case "PersistentMapping":
		return "PersistentMapping"
	}
	return string(b)
}

// maxClasses bounds the different classes that one record may name in the
// machine. Arrays need at most four.
const maxClasses = 64

// class returns the index of the named class in m.classes, or -1 if there are
// too many.
func (m *machine) class(module, name []byte) int {
	for i := range m.classes {
		if c := &m.classes[i]; c.Name == string(name) && c.Module == string(module) {
			return i
		}
	}
	if len(m.classes) == maxClasses {
		return -1
	}
	m.classes = append(m.classes, Class{internModule(module), internName(name)})
	return len(m.classes) - 1
}
