package record

// Modules of the classes that arrays are made of.
const (
	ModuleBigFile = "wendelin.bigfile.file_zodb"
	ModuleLOBTree = "BTrees.LOBTree"
	ModuleIOBTree = "BTrees.IOBTree"
)

// The classes that arrays are made of.
var (
	ZBigFile = Class{Module: ModuleBigFile, Name: "ZBigFile"}
	ZBlk     = Class{Module: ModuleBigFile, Name: "ZBlk"} // name of ZBlk0 in the earliest databases
	ZBlk0    = Class{Module: ModuleBigFile, Name: "ZBlk0"}
	ZBlk1    = Class{Module: ModuleBigFile, Name: "ZBlk1"}
	ZData    = Class{Module: ModuleBigFile, Name: "ZData"}
	LOBTree  = Class{Module: ModuleLOBTree, Name: "LOBTree"}
	LOBucket = Class{Module: ModuleLOBTree, Name: "LOBucket"}
	IOBTree  = Class{Module: ModuleIOBTree, Name: "IOBTree"}
	IOBucket = Class{Module: ModuleIOBTree, Name: "IOBucket"}
)

// ZBigArray is the class of arrays that say what their bytes mean. It is not served.
var ZBigArray = Class{Module: "wendelin.bigarray.array_zodb", Name: "ZBigArray"}

// known are the classes that decoding meets all the time. Their names are not
// allocated.
var known = [...]Class{ZBlk0, LOBucket, LOBTree, ZData, IOBTree, IOBucket, ZBlk1, ZBigFile, ZBlk, {Module: "persistent.mapping", Name: "PersistentMapping"}}
