package qemutests

// appKey is a secret that one file of the installed system has, and nothing
// else.
const appKey = "canary-T1melock-in-the-file"

// configs is an item's part that depends on the machine: what they make of it
// is in configsHold.
var configs = []string{
	"-s", "app-key=" + appKey,
	"-o", `kernel-params=["console=ttyS0", "vic.test={{ env \"hw.arch\" }}-{{ env \"hw.firmware\" }}"]`,
	"-n", `
requires: {env.os: linux, env.hw.firmware: [uefi, bios]}
secrets: {app-key: {description: key of the application}}
files:
  - path: /etc/app/app.conf
    owner: '{{ option "username" }}'
    group: users
    mode: "0640"
    content: |
      name={{ option "hostname" }}
      {{- range env "hw.nic" }}
      nic={{ .hwaddr }} by {{ .driver }}
      {{- end }}
      key={{ secret "app-key" | shell }}
      {{- if has "hw.tpm" }}
      tpm=yes
      {{- end }}
  - path: /etc/app/key
    content: '{{ secret "app-key" }}'
units:
  - name: app.service
    enabled: true
    content: |
      [Service]
      Type=oneshot
      RemainAfterExit=yes
      ExecStart=/usr/bin/cp /etc/app/app.conf /run/app-{{ option "hostname" }}
      [Install]
      WantedBy=multi-user.target
`}

// configsHold are commands in the installed system, and what they print.
var configsHold = [][2]string{
	{"cat /etc/app/app.conf", `^name=web1\nnic=52:54:00:76:69:00 by virtio_net\nkey='` + appKey + `'$`},
	{"stat -c '%a %U %G' /etc/app /etc/app/app.conf /etc/app/key", `^755 root root\n640 anna users\n600 root root$`},
	{"cat /etc/app/key", "^" + appKey + "$"},
	{"systemctl is-enabled app.service; systemctl is-active app.service; cmp /run/app-web1 /etc/app/app.conf && echo same", `^enabled\nactive\nsame$`},
	{"cat /proc/cmdline", ` vic\.test=amd64-uefi\b`},
}
