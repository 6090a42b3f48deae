package layout

// codes are the type codes of sgdisk(8); its own list is sgdisk -L.
var codes = map[string]string{
	"0700": "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7", // Microsoft basic data
	"0701": "558d43c5-a1ac-43c0-aac8-d1472b2923d1", // Microsoft Storage Replica
	"0702": "90b6ff38-b98f-4358-a21f-48f35b4a8ad3", // ArcaOS Type 1
	"0C01": "e3c9e316-0b5c-4db8-817d-f92df00215ae", // Microsoft reserved
	"2700": "de94bba4-06d1-4d40-a16a-bfd50179d6ac", // Windows RE
	"3000": "7412f7d5-a156-4b13-81dc-867174929325", // ONIE boot
	"3001": "d4e6e2cd-4469-46f3-b5cb-1bff57afc149", // ONIE config
	"3900": "c91818f9-8025-47af-89d2-f030d7000c2c", // Plan 9
	"4100": "9e1a2d38-c612-4316-aa26-8b49521e5a8b", // PowerPC PReP boot
	"4200": "af9b60a0-1431-4f62-bc68-3311714a69ad", // Windows LDM data
	"4201": "5808c8aa-7e8f-42e0-85d2-e1e90434cfb3", // Windows LDM metadata
	"4202": "e75caf8f-f680-4cee-afa3-b001e56efc2d", // Windows Storage Spaces
	"7501": "37affc90-ef7d-4e96-91c3-2d7ae055b174", // IBM GPFS
	"7F00": "fe3a2a5d-4f32-41a7-b725-accc3285a309", // ChromeOS kernel
	"7F01": "3cb8e202-3b7e-47dd-8a3c-7ff2a13cfcec", // ChromeOS root
	"7F02": "2e0a753d-9e48-43b0-8337-b15192cb1b5e", // ChromeOS reserved
	"7F03": "cab6e88e-abf3-4102-a07a-d4bb9be3c1d3", // ChromeOS firmware
	"7F04": "09845860-705f-4bb5-b16c-8a8a099caf52", // ChromeOS mini-OS
	"7F05": "3f0f8318-f146-4e6b-8222-c28c8f02e0d5", // ChromeOS hibernate
	"8200": "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f", // Linux swap
	"8300": "0fc63daf-8483-4772-8e79-3d69d8477de4", // Linux filesystem
	"8301": "8da63339-0007-60c0-c436-083ac8230908", // Linux reserved
	"8302": "933ac7e1-2eb4-4f13-b844-0e14e2aef915", // Linux /home
	"8303": "44479540-f297-41b2-9af7-d131d5f0458a", // Linux x86 root (/)
	"8304": "4f68bce3-e8cd-4db1-96e7-fbcaf984b709", // Linux x86-64 root (/)
	"8305": "b921b045-1df0-41c3-af44-4c6f280d3fae", // Linux ARM64 root (/)
	"8306": "3b8f8425-20e0-4f3b-907f-1a25a76f98e8", // Linux /srv
	"8307": "69dad710-2ce4-4e3c-b16c-21a1d49abed3", // Linux ARM32 root (/)
	"8308": "7ffec5c9-2d00-49b7-8941-3ea10a5586b7", // Linux dm-crypt
	"8309": "ca7d7ccb-63ed-4c53-861c-1742536059cc", // Linux LUKS
	"830A": "993d8d3d-f80e-4225-855a-9daf8ed7ea97", // Linux IA-64 root (/)
	"830B": "d13c5d3b-b5d1-422a-b29f-9454fdc89d76", // Linux x86 root verity
	"830C": "2c7357ed-ebd2-46d9-aec1-23d437ec2bf5", // Linux x86-64 root verity
	"830D": "7386cdf2-203c-47a9-a498-f2ecce45a2d6", // Linux ARM32 root verity
	"830E": "df3300ce-d69f-4c92-978c-9bfb0f38d820", // Linux ARM64 root verity
	"830F": "86ed10d5-b607-45bb-8957-d350f23d0571", // Linux IA-64 root verity
	"8310": "4d21b016-b534-45c2-a9fb-5c16e091fd2d", // Linux /var
	"8311": "7ec6f557-3bc5-4aca-b293-16ef5df639d1", // Linux /var/tmp
	"8312": "773f91ef-66d4-49b5-bd83-d683bf40ad16", // Linux user's home
	"8313": "75250d76-8cc6-458e-bd66-bd47cc81a812", // Linux x86 /usr
	"8314": "8484680c-9521-48c6-9c11-b0720656f69e", // Linux x86-64 /usr
	"8315": "7d0359a3-02b3-4f0a-865c-654403e70625", // Linux ARM32 /usr
	"8316": "b0e01050-ee5f-4390-949a-9101b17104e9", // Linux ARM64 /usr
	"8317": "4301d2a6-4e3b-4b2a-bb94-9e0b2c4225ea", // Linux IA-64 /usr
	"8318": "8f461b0d-14ee-4e81-9aa9-049b6fb97abd", // Linux x86 /usr verity
	"8319": "77ff5f63-e7b6-4633-acf4-1565b864c0e6", // Linux x86-64 /usr verity
	"831A": "c215d751-7bcd-4649-be90-6627490a4c05", // Linux ARM32 /usr verity
	"831B": "6e11a4e7-fbca-4ded-b9e9-e1a512bb664e", // Linux ARM64 /usr verity
	"831C": "6a491e03-3be7-4545-8e38-83320e0ea880", // Linux IA-64 /usr verity
	"8400": "d3bfe2de-3daf-11df-ba40-e3a556d89593", // Intel Rapid Start
	"8401": "7c5222bd-8f5d-4087-9c00-bf9843c7b58c", // SPDK block device
	"8500": "5dfbf5f4-2848-4bac-aa5e-0d9a20b745a6", // Container Linux /usr
	"8501": "3884dd41-8582-4404-b9a8-e9b84f2df50e", // Container Linux resizable rootfs
	"8502": "c95dc21a-df0e-4340-8d7b-26cbfa9a03e0", // Container Linux /OEM customizations
	"8503": "be9067b9-ea49-4f15-b4f6-f36f8c9e1818", // Container Linux root on RAID
	"8E00": "e6d6d379-f507-44c2-a23c-238f2a3df928", // Linux LVM
	"A000": "2568845d-2332-4675-bc39-8fa5a4748d15", // Android bootloader
	"A001": "114eaffe-1552-4022-b26e-9b053604cf84", // Android bootloader 2
	"A002": "49a4d17f-93a3-45c1-a0de-f50b2ebe2599", // Android boot 1
	"A003": "4177c722-9e92-4aab-8644-43502bfd5506", // Android recovery 1
	"A004": "ef32a33b-a409-486c-9141-9ffb711f6266", // Android misc
	"A005": "20ac26be-20b7-11e3-84c5-6cfdb94711e9", // Android metadata
	"A006": "38f428e6-d326-425d-9140-6e0ea133647c", // Android system 1
	"A007": "a893ef21-e428-470a-9e55-0668fd91a2d9", // Android cache
	"A008": "dc76dda9-5ac1-491c-af42-a82591580c0d", // Android data
	"A009": "ebc597d0-2053-4b15-8b64-e0aac75f4db1", // Android persistent
	"A00A": "8f68cc74-c5e5-48da-be91-a0c8c15e9c80", // Android factory
	"A00B": "767941d0-2085-11e3-ad3b-6cfdb94711e9", // Android fastboot/tertiary
	"A00C": "ac6d7924-eb71-4df8-b48d-e267b27148ff", // Android OEM
	"A00D": "c5a0aeec-13ea-11e5-a1b1-001e67ca0c3c", // Android vendor
	"A00E": "bd59408b-4514-490d-bf12-9878d963f378", // Android config
	"A00F": "9fdaa6ef-4b3f-40d2-ba8d-bff16bfb887b", // Android factory (alt)
	"A010": "19a710a2-b3ca-11e4-b026-10604b889dcf", // Android meta
	"A011": "193d1ea4-b3ca-11e4-b075-10604b889dcf", // Android EXT
	"A012": "dea0ba2c-cbdd-4805-b4f9-f428251c3e98", // Android SBL1
	"A013": "8c6b52ad-8a9e-4398-ad09-ae916e53ae2d", // Android SBL2
	"A014": "05e044df-92f1-4325-b69e-374a82e97d6e", // Android SBL3
	"A015": "400ffdcd-22e0-47e7-9a23-f16ed9382388", // Android APPSBL
	"A016": "a053aa7f-40b8-4b1c-ba08-2f68ac71a4f4", // Android QSEE/tz
	"A017": "e1a6a689-0c8d-4cc6-b4e8-55a4320fbd8a", // Android QHEE/hyp
	"A018": "098df793-d712-413d-9d4e-89d711772228", // Android RPM
	"A019": "d4e0d938-b7fa-48c1-9d21-bc5ed5c4b203", // Android WDOG debug/sdi
	"A01A": "20a0c19c-286a-42fa-9ce7-f64c3226a794", // Android DDR
	"A01B": "a19f205f-ccd8-4b6d-8f1e-2d9bc24cffb1", // Android CDT
	"A01C": "66c9b323-f7fc-48b6-bf96-6f32e335a428", // Android RAM dump
	"A01D": "303e6ac3-af15-4c54-9e9b-d9a8fbecf401", // Android SEC
	"A01E": "c00eef24-7709-43d6-9799-dd2b411e7a3c", // Android PMIC
	"A01F": "82acc91f-357c-4a68-9c8f-689e1b1a23a1", // Android misc 1
	"A020": "e2802d54-0545-e8a1-a1e8-c7a3e245acd4", // Android misc 2
	"A021": "65addcf4-0c5c-4d9a-ac2d-d90b5cbfcd03", // Android device info
	"A022": "e6e98da2-e22a-4d12-ab33-169e7deaa507", // Android APDP
	"A023": "ed9e8101-05fa-46b7-82aa-8d58770d200b", // Android MSADP
	"A024": "11406f35-1173-4869-807b-27df71802812", // Android DPO
	"A025": "9d72d4e4-9958-42da-ac26-bea7a90b0434", // Android recovery 2
	"A026": "6c95e238-e343-4ba8-b489-8681ed22ad0b", // Android persist
	"A027": "ebbeadaf-22c9-e33b-8f5d-0e81686a68cb", // Android modem ST1
	"A028": "0a288b1f-22c9-e33b-8f5d-0e81686a68cb", // Android modem ST2
	"A029": "57b90a16-22c9-e33b-8f5d-0e81686a68cb", // Android FSC
	"A02A": "638ff8e2-22c9-e33b-8f5d-0e81686a68cb", // Android FSG 1
	"A02B": "2013373e-1ac4-4131-bfd8-b6a7ac638772", // Android FSG 2
	"A02C": "2c86e742-745e-4fdd-bfd8-b6a7ac638772", // Android SSD
	"A02D": "de7d4029-0f5b-41c8-ae7e-f6c023a02b33", // Android keystore
	"A02E": "323ef595-af7a-4afa-8060-97be72841bb9", // Android encrypt
	"A02F": "45864011-cf89-46e6-a445-85262e065604", // Android EKSST
	"A030": "8ed8ae95-597f-4c8a-a5bd-a7ff8e4dfaa9", // Android RCT
	"A031": "df24e5ed-8c96-4b86-b00b-79667dc6de11", // Android spare1
	"A032": "7c29d3ad-78b9-452e-9deb-d098d542f092", // Android spare2
	"A033": "379d107e-229e-499d-ad4f-61f5bcf87bd4", // Android spare3
	"A034": "0dea65e5-a676-4cdf-823c-77568b577ed5", // Android spare4
	"A035": "4627ae27-cfef-48a1-88fe-99c3509ade26", // Android raw resources
	"A036": "20117f86-e985-4357-b9ee-374bc1d8487d", // Android boot 2
	"A037": "86a7cb80-84e1-408c-99ab-694f1a410fc7", // Android FOTA
	"A038": "97d7b011-54da-4835-b3c4-917ad6e73d74", // Android system 2
	"A039": "5594c694-c871-4b5f-90b1-690a6f68e0f7", // Android cache
	"A03A": "1b81e7e6-f50d-419b-a739-2aeef8da3335", // Android user data
	"A03B": "98523ec6-90fe-4c67-b50a-0fc59ed6f56d", // LG (Android) advanced flasher
	"A03C": "2644bcc0-f36a-4792-9533-1738bed53ee3", // Android PG1FS
	"A03D": "dd7c91e9-38c9-45c5-8a12-4a80f7e14057", // Android PG2FS
	"A03E": "7696d5b6-43fd-4664-a228-c563c4a1e8cc", // Android board info
	"A03F": "0d802d54-058d-4a20-ad2d-c7a362ceacd4", // Android MFG
	"A040": "10a0c19c-516a-5444-5ce3-664c3226a794", // Android limits
	"A200": "734e5afe-f61a-11e6-bc64-92361f002671", // Atari TOS basic data
	"A500": "516e7cb4-6ecf-11d6-8ff8-00022d09712b", // FreeBSD disklabel
	"A501": "83bd6b9d-7f41-11dc-be0b-001560b84f0f", // FreeBSD boot
	"A502": "516e7cb5-6ecf-11d6-8ff8-00022d09712b", // FreeBSD swap
	"A503": "516e7cb6-6ecf-11d6-8ff8-00022d09712b", // FreeBSD UFS
	"A504": "516e7cba-6ecf-11d6-8ff8-00022d09712b", // FreeBSD ZFS
	"A505": "516e7cb8-6ecf-11d6-8ff8-00022d09712b", // FreeBSD Vinum/RAID
	"A506": "74ba7dd9-a689-11e1-bd04-00e081286acf", // FreeBSD nandfs
	"A580": "85d5e45a-237c-11e1-b4b3-e89a8f7fc3a7", // Midnight BSD data
	"A581": "85d5e45e-237c-11e1-b4b3-e89a8f7fc3a7", // Midnight BSD boot
	"A582": "85d5e45b-237c-11e1-b4b3-e89a8f7fc3a7", // Midnight BSD swap
	"A583": "0394ef8b-237e-11e1-b4b3-e89a8f7fc3a7", // Midnight BSD UFS
	"A584": "85d5e45d-237c-11e1-b4b3-e89a8f7fc3a7", // Midnight BSD ZFS
	"A585": "85d5e45c-237c-11e1-b4b3-e89a8f7fc3a7", // Midnight BSD Vinum
	"A600": "824cc7a0-36a8-11e3-890a-952519ad3f61", // OpenBSD disklabel
	"A800": "55465300-0000-11aa-aa11-00306543ecac", // Apple UFS
	"A901": "49f48d32-b10e-11dc-b99b-0019d1879648", // NetBSD swap
	"A902": "49f48d5a-b10e-11dc-b99b-0019d1879648", // NetBSD FFS
	"A903": "49f48d82-b10e-11dc-b99b-0019d1879648", // NetBSD LFS
	"A904": "2db519c4-b10f-11dc-b99b-0019d1879648", // NetBSD concatenated
	"A905": "2db519ec-b10f-11dc-b99b-0019d1879648", // NetBSD encrypted
	"A906": "49f48daa-b10e-11dc-b99b-0019d1879648", // NetBSD RAID
	"AB00": "426f6f74-0000-11aa-aa11-00306543ecac", // Recovery HD
	"AF00": "48465300-0000-11aa-aa11-00306543ecac", // Apple HFS/HFS+
	"AF01": "52414944-0000-11aa-aa11-00306543ecac", // Apple RAID
	"AF02": "52414944-5f4f-11aa-aa11-00306543ecac", // Apple RAID offline
	"AF03": "4c616265-6c00-11aa-aa11-00306543ecac", // Apple label
	"AF04": "5265636f-7665-11aa-aa11-00306543ecac", // AppleTV recovery
	"AF05": "53746f72-6167-11aa-aa11-00306543ecac", // Apple Core Storage
	"AF06": "b6fa30da-92d2-4a9a-96f1-871ec6486200", // Apple SoftRAID Status
	"AF07": "2e313465-19b9-463f-8126-8a7993773801", // Apple SoftRAID Scratch
	"AF08": "fa709c7e-65b1-4593-bfd5-e71d61de9b02", // Apple SoftRAID Volume
	"AF09": "bbba6df5-f46f-4a89-8f59-8765b2727503", // Apple SoftRAID Cache
	"AF0A": "7c3457ef-0000-11aa-aa11-00306543ecac", // Apple APFS
	"AF0B": "69646961-6700-11aa-aa11-00306543ecac", // Apple APFS Pre-Boot
	"AF0C": "52637672-7900-11aa-aa11-00306543ecac", // Apple APFS Recovery
	"B000": "3de21764-95bd-54bd-a5c3-4abe786f38a8", // U-Boot boot loader
	"B300": "cef5a9ad-73bc-4601-89f3-cdeeeee321a1", // QNX6 Power-Safe
	"BB00": "4778ed65-bf42-45fa-9c5b-287a1dc4aab1", // Barebox boot loader
	"BC00": "0311fc50-01ca-4725-ad77-9adbb20ace98", // Acronis Secure Zone
	"BE00": "6a82cb45-1dd2-11b2-99a6-080020736631", // Solaris boot
	"BF00": "6a85cf4d-1dd2-11b2-99a6-080020736631", // Solaris root
	"BF01": "6a898cc3-1dd2-11b2-99a6-080020736631", // Solaris /usr & Mac ZFS
	"BF02": "6a87c46f-1dd2-11b2-99a6-080020736631", // Solaris swap
	"BF03": "6a8b642b-1dd2-11b2-99a6-080020736631", // Solaris backup
	"BF04": "6a8ef2e9-1dd2-11b2-99a6-080020736631", // Solaris /var
	"BF05": "6a90ba39-1dd2-11b2-99a6-080020736631", // Solaris /home
	"BF06": "6a9283a5-1dd2-11b2-99a6-080020736631", // Solaris alternate sector
	"BF07": "6a945a3b-1dd2-11b2-99a6-080020736631", // Solaris Reserved 1
	"BF08": "6a9630d1-1dd2-11b2-99a6-080020736631", // Solaris Reserved 2
	"BF09": "6a980767-1dd2-11b2-99a6-080020736631", // Solaris Reserved 3
	"BF0A": "6a96237f-1dd2-11b2-99a6-080020736631", // Solaris Reserved 4
	"BF0B": "6a8d2ac7-1dd2-11b2-99a6-080020736631", // Solaris Reserved 5
	"C001": "75894c1e-3aeb-11d3-b7c1-7b03a0000000", // HP-UX data
	"C002": "e2a1e728-32e3-11d6-a682-7b03a0000000", // HP-UX service
	"E100": "7412f7d5-a156-4b13-81dc-867174929325", // ONIE boot
	"E101": "d4e6e2cd-4469-46f3-b5cb-1bff57afc149", // ONIE config
	"E900": "8c8f8eff-ac95-4770-814a-21994f2dbc8f", // Veracrypt data
	"EA00": "bc13c2ff-59e6-4262-a352-b275fd6f7172", // XBOOTLDR partition
	"EB00": "42465331-3ba3-10f1-802a-4861696b7521", // Haiku BFS
	"ED00": "f4019732-066e-4e12-8273-346c5641494f", // Sony system partition
	"ED01": "bfbfafe7-a34f-448a-9a5b-6213eb736c22", // Lenovo system partition
	"EF00": "c12a7328-f81f-11d2-ba4b-00a0c93ec93b", // EFI system partition
	"EF01": "024dee41-33e7-11d3-9d69-0008c781f39f", // MBR partition scheme
	"EF02": "21686148-6449-6e6f-744e-656564454649", // BIOS boot partition
	"F100": "fe8a2634-5e2e-46ba-99e3-3a192091a350", // Fuchsia boot loader (slot A/B/R)
	"F101": "d9fd4535-106c-4cec-8d37-dfc020ca87cb", // Fuchsia durable mutable encrypted system data
	"F102": "a409e16b-78aa-4acc-995c-302352621a41", // Fuchsia durable mutable boot loader
	"F103": "f95d940e-caba-4578-9b93-bb6c90f29d3e", // Fuchsia factory ro system data
	"F104": "10b8dbaa-d2bf-42a9-98c6-a7c5db3701e7", // Fuchsia factory ro bootloader data
	"F105": "49fd7cb8-df15-4e73-b9d9-992070127f0f", // Fuchsia Volume Manager
	"F106": "421a8bfc-85d9-4d85-acda-b64eec0133e9", // Fuchsia verified boot metadata (slot A/B/R)
	"F107": "9b37fff6-2e58-466a-983a-f7926d0b04e0", // Fuchsia Zircon boot image (slot A/B/R)
	"F108": "c12a7328-f81f-11d2-ba4b-00a0c93ec93b", // EFI system partition
	"F109": "606b000b-b7c7-4653-a7d5-b737332c899d", // Fuchsia System
	"F10A": "08185f0c-892d-428a-a789-dbeec8f55e6a", // Fuchsia Data
	"F10B": "48435546-4953-2041-494e-5354414c4c52", // Fuchsia Install
	"F10C": "2967380e-134c-4cbb-b6da-17e7ce1ca45d", // Fuchsia Blob
	"F10D": "41d0e340-57e3-954e-8c1e-17ecac44cff5", // Fuchsia FVM
	"F10E": "de30cc86-1f4a-4a31-93c4-66f147d33e05", // Fuchsia Zircon boot image (slot A)
	"F10F": "23cc04df-c278-4ce7-8471-897d1a4bcdf7", // Fuchsia Zircon boot image (slot B)
	"F110": "a0e5cf57-2def-46be-a80c-a2067c37cd49", // Fuchsia Zircon boot image (slot R)
	"F111": "4e5e989e-4c86-11e8-a15b-480fcf35f8e6", // Fuchsia sys-config
	"F112": "5a3a90be-4c86-11e8-a15b-480fcf35f8e6", // Fuchsia factory-config
	"F113": "5ece94fe-4c86-11e8-a15b-480fcf35f8e6", // Fuchsia bootloader
	"F114": "8b94d043-30be-4871-9dfa-d69556e8c1f3", // Fuchsia guid-test
	"F115": "a13b4d9a-ec5f-11e8-97d8-6c3be52705bf", // Fuchsia verified boot metadata (A)
	"F116": "a288abf2-ec5f-11e8-97d8-6c3be52705bf", // Fuchsia verified boot metadata (B)
	"F117": "6a2460c3-cd11-4e8b-80a8-12cce268ed0a", // Fuchsia verified boot metadata (R)
	"F118": "1d75395d-f2c6-476b-a8b7-45cc1c97b476", // Fuchsia misc
	"F119": "900b0fc5-90cd-4d4f-84f9-9f8ed579db88", // Fuchsia emmc-boot1
	"F11A": "b2b2e8d1-7c10-4ebc-a2d0-4614568260ad", // Fuchsia emmc-boot2
	"F800": "4fbd7e29-9d25-41b8-afd0-062c0ceff05d", // Ceph OSD
	"F801": "4fbd7e29-9d25-41b8-afd0-5ec00ceff05d", // Ceph dm-crypt OSD
	"F802": "45b0969e-9b03-4f30-b4c6-b4b80ceff106", // Ceph journal
	"F803": "45b0969e-9b03-4f30-b4c6-5ec00ceff106", // Ceph dm-crypt journal
	"F804": "89c57f98-2fe5-4dc0-89c1-f3ad0ceff2be", // Ceph disk in creation
	"F805": "89c57f98-2fe5-4dc0-89c1-5ec00ceff2be", // Ceph dm-crypt disk in creation
	"F806": "cafecafe-9b03-4f30-b4c6-b4b80ceff106", // Ceph block
	"F807": "30cd0809-c2b2-499c-8879-2d6b78529876", // Ceph block DB
	"F808": "5ce17fce-4087-4169-b7ff-056cc58473f9", // Ceph block write-ahead log
	"F809": "fb3aabf9-d25f-47cc-bf5e-721d1816496b", // Ceph lockbox for dm-crypt keys
	"F80A": "4fbd7e29-8ae0-4982-bf9d-5a8d867af560", // Ceph multipath OSD
	"F80B": "45b0969e-8ae0-4982-bf9d-5a8d867af560", // Ceph multipath journal
	"F80C": "cafecafe-8ae0-4982-bf9d-5a8d867af560", // Ceph multipath block 1
	"F80D": "7f4a666a-16f3-47a2-8445-152ef4d03f6c", // Ceph multipath block 2
	"F80E": "ec6d6385-e346-45dc-be91-da2a7c8b3261", // Ceph multipath block DB
	"F80F": "01b41e1b-002a-453c-9f17-88793989ff8f", // Ceph multipath block write-ahead log
	"F810": "cafecafe-9b03-4f30-b4c6-5ec00ceff106", // Ceph dm-crypt block
	"F811": "93b0052d-02d9-4d8a-a43b-33a3ee4dfbc3", // Ceph dm-crypt block DB
	"F812": "306e8683-4fe2-4330-b7c0-00a917c16966", // Ceph dm-crypt block write-ahead log
	"F813": "45b0969e-9b03-4f30-b4c6-35865ceff106", // Ceph dm-crypt LUKS journal
	"F814": "cafecafe-9b03-4f30-b4c6-35865ceff106", // Ceph dm-crypt LUKS block
	"F815": "166418da-c469-4022-adf4-b30afd37f176", // Ceph dm-crypt LUKS block DB
	"F816": "86a32090-3647-40b9-bbbd-38d8c573aa86", // Ceph dm-crypt LUKS block write-ahead log
	"F817": "4fbd7e29-9d25-41b8-afd0-35865ceff05d", // Ceph dm-crypt LUKS OSD
	"FB00": "aa31e02a-400f-11db-9590-000c2911d1b8", // VMWare VMFS
	"FB01": "9198effc-31c0-11db-8f78-000c2911d1b8", // VMWare reserved
	"FC00": "9d275380-40ad-11db-bf97-000c2911d1b8", // VMWare kcore crash protection
	"FD00": "a19d880f-05fc-4d3b-a006-743f0f84911e", // Linux RAID
}
