package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"charm.land/bubbles/v2/key"
	tea "charm.land/bubbletea/v2"
	"charm.land/huh/v2"
	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/regctl-setup/regctl-setup/internal/iostreams"
	"github.com/regctl-setup/regctl-setup/internal/wizard"
)

// maxScreenWidth keeps lines readable on wide terminals.
const maxScreenWidth = 80

// askOnScreen asks one question a screen, on the terminal's second buffer: what was on the
// terminal before is there again afterwards.
func (a *app) askOnScreen(ctx context.Context, iv *interview) error {
	m := newScreen(ctx, iv)
	p := tea.NewProgram(m, tea.WithContext(ctx), tea.WithInput(a.io.In), tea.WithOutput(a.io.ErrOut), tea.WithoutSignalHandler())
	_, err := p.Run()
	switch {
	case m.left || ctx.Err() != nil || errors.Is(err, tea.ErrInterrupted):
		return iostreams.ErrInterrupted
	case err != nil:
		return fail(fmt.Errorf("ask on the terminal: %w", err), "ACCESSIBLE=1 asks line by line, without drawing")
	}
	return nil
}

// mode is what the screen shows.
type mode int

const (
	asking    mode = iota // the open question
	repeating             // a password once more
	summing               // the summary
	choosing              // which section to open
)

// screen is the wizard as a Bubble Tea model: one huh field at a time, around it what was
// answered before and what is worth knowing.
//
// huh's own forms can't be used as a whole: what is asked depends on the answers, a
// question's default on those before it, and notes arrive while somebody types.
type screen struct {
	ctx context.Context
	iv  *interview

	width, height int
	mode          mode
	q             wizard.Question
	form          *huh.Form
	field         huh.Field
	value         string
	first         string // a password as it was typed first
	tried         bool   // the answer was refused: say why, even where nothing stands

	notes  map[string][]string // by interview.probeKey
	asked  map[string]bool     // probes that were started
	sum    verdict
	scroll int
	// What is typed between an answer and the next question belongs to the next question.
	sent    bool
	waiting []tea.Msg

	theme      huh.Theme
	left, done bool
}

func newScreen(ctx context.Context, iv *interview) *screen {
	styles := screenTheme(false) // made once: huh asks for it with every line that it draws
	return &screen{theme: huh.ThemeFunc(func(bool) *huh.Styles { return styles }), ctx: ctx, iv: iv, width: maxScreenWidth, height: 24, notes: map[string][]string{}, asked: map[string]bool{}}
}

// probed is what a probe found.
type probed struct {
	key   string
	notes []string
}

// Init opens the first question.
func (m *screen) Init() tea.Cmd { return m.next() }

// Update takes a key, a new size, or what a probe found.
func (m *screen) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = max(msg.Width, 20), max(msg.Height, 8)
		return m, m.resize()
	case probed:
		m.notes[msg.key] = msg.notes
		if m.mode == summing {
			m.sum = m.iv.sum(m.notes[m.iv.probeKey()])
		}
		return m, nil
	case tea.KeyPressMsg:
		if s := msg.String(); s == "ctrl+c" || s == "esc" {
			m.left = true
			return m, tea.Quit
		}
		if m.sent {
			m.waiting = append(m.waiting, msg)
			return m, nil
		}
		return m, m.press(msg)
	case tea.PasteMsg:
		if m.sent {
			m.waiting = append(m.waiting, msg)
			return m, nil
		}
	}
	return m, m.feed(msg)
}

// press handles a key.
func (m *screen) press(msg tea.KeyPressMsg) tea.Cmd {
	switch msg.String() {
	case "shift+tab":
		return m.back()
	case "pgup", "pgdown":
		if m.mode == summing {
			m.scroll += map[string]int{"pgup": -5, "pgdown": 5}[msg.String()]
			return nil
		}
	case "tab": // a form of one field has no next one
		msg = tea.KeyPressMsg{Code: tea.KeyEnter}
	}
	cmd := m.feed(msg)
	if msg.Code == tea.KeyEnter && m.form.State == huh.StateNormal {
		if m.field.Error() != nil {
			m.tried = true
		} else {
			m.sent = true
		}
	}
	return cmd
}

// feed gives a message to the form, and takes its answer once it has one.
func (m *screen) feed(msg tea.Msg) tea.Cmd {
	_, cmd := m.form.Update(msg)
	if m.form.State != huh.StateCompleted || m.done {
		return cmd
	}
	return tea.Batch(cmd, m.answered())
}

// answered takes the answer of the form that was completed.
func (m *screen) answered() tea.Cmd {
	m.sent = false
	var cmd tea.Cmd
	switch m.mode {
	case asking, repeating:
		if m.mode == asking && m.q.Kind == wizard.Secret && m.value != "" {
			m.first = m.value
			m.mode = repeating
			cmd = m.show()
			break
		}
		if err := m.iv.session.Answer(m.value); err != nil { // checked while it was typed
			m.tried = true
			cmd = m.show()
			break
		}
		cmd = m.next()
	case summing:
		switch m.value {
		case chooseWrite:
			m.done = true
			return tea.Quit
		case chooseLeave:
			m.left = true
			return tea.Quit
		}
		m.mode = choosing
		cmd = m.show()
	case choosing:
		if m.value != "" {
			m.iv.session.Open(m.value)
		}
		cmd = m.next()
	}
	return tea.Batch(cmd, m.replay())
}

// replay gives the new form what was typed while the old one was closing.
func (m *screen) replay() tea.Cmd {
	waiting := m.waiting
	m.waiting = nil
	var cmds []tea.Cmd
	for _, msg := range waiting {
		_, cmd := m.Update(msg)
		cmds = append(cmds, cmd)
	}
	return tea.Batch(cmds...)
}

// back opens the question before.
func (m *screen) back() tea.Cmd {
	switch m.mode {
	case choosing:
		return m.next()
	case repeating:
		m.mode = asking
		m.value = ""
		return m.show()
	}
	if !m.iv.session.Back() {
		return nil
	}
	return m.next()
}

// next shows the open question, or the summary when there is none.
func (m *screen) next() tea.Cmd {
	m.tried, m.scroll, m.first = false, 0, ""
	probe := m.probe()
	if q, ok := m.iv.session.Question(); ok {
		m.mode, m.q, m.value = asking, q, q.Default
	} else {
		m.mode = summing
		m.sum = m.iv.sum(m.notes[m.iv.probeKey()])
	}
	return tea.Batch(probe, m.show())
}

// probe looks at names and ports in the background, once for the same answers.
func (m *screen) probe() tea.Cmd {
	k := m.iv.probeKey()
	if m.asked[k] {
		return nil
	}
	m.asked[k] = true
	a := m.iv.session.Answers()
	return func() tea.Msg { return probed{k, m.iv.probe(m.ctx, a)} }
}

// show makes the form of what is to be asked.
func (m *screen) show() tea.Cmd {
	switch m.mode {
	case asking:
		m.field = m.questionField()
	case repeating:
		m.value = ""
		m.field = huh.NewInput().Title(m.q.Title + ", once more").Description("So that a slip of the finger locks nobody out.").
			EchoMode(huh.EchoModePassword).Value(&m.value).Validate(m.check)
	case summing:
		options := m.iv.choices(m.sum)
		m.value = options[0].Value
		m.field = selectField("", "", options, &m.value)
	case choosing:
		options := m.iv.menu()
		m.value = options[0].Value
		m.field = selectField("What would you like to change, or to see?", "", options, &m.value)
	}
	m.form = huh.NewForm(huh.NewGroup(m.field)).WithShowHelp(false).WithShowErrors(false).
		WithTheme(m.theme).WithKeyMap(screenKeys())
	return tea.Batch(m.form.Init(), m.resize())
}

// questionField is the huh field of the open question.
func (m *screen) questionField() huh.Field {
	if m.q.Kind == wizard.Choice {
		return selectField(m.q.Title, m.q.Explain, m.q.Options, &m.value).Validate(m.check)
	}
	in := huh.NewInput().Title(m.q.Title).Description(m.q.Explain).Placeholder(m.q.Example).Value(&m.value).Validate(m.check)
	if m.q.Kind == wizard.Secret {
		in.EchoMode(huh.EchoModePassword)
	}
	return in
}

func selectField(title, explain string, options []wizard.Option, value *string) *huh.Select[string] {
	list := make([]huh.Option[string], len(options))
	for i, o := range options {
		list[i] = huh.NewOption(o.Label, o.Value)
	}
	return huh.NewSelect[string]().Title(title).Description(explain).Options(list...).Value(value)
}

// check says what is wrong with what stands there.
func (m *screen) check(text string) error {
	switch m.mode {
	case repeating:
		if text != m.first {
			return errors.New("that is not the same password")
		}
		return nil
	case asking:
		return m.iv.session.Check(text)
	}
	return nil
}

// resize gives the form the room that is left for it.
func (m *screen) resize() tea.Cmd {
	if m.form == nil {
		return nil
	}
	w := min(m.width, maxScreenWidth)
	m.form.WithWidth(w - 1)
	_, cmd := m.form.Update(tea.WindowSizeMsg{Width: w - 1, Height: max(m.height-4, 4)})
	return cmd
}

// View draws the screen.
func (m *screen) View() tea.View {
	v := tea.NewView(strings.Join(m.lines(), "\n"))
	v.AltScreen = true
	v.WindowTitle = "regctl-setup init: " + m.title()
	if m.left || m.done {
		v.Content = ""
	}
	return v
}

var (
	styleHead  = lipgloss.NewStyle().Bold(true)
	styleDim   = lipgloss.NewStyle().Faint(true)
	styleBad   = lipgloss.NewStyle().Foreground(lipgloss.Red)
	styleGood  = lipgloss.NewStyle().Foreground(lipgloss.Green)
	styleHeed  = lipgloss.NewStyle().Foreground(lipgloss.Yellow)
	styleFirst = lipgloss.NewStyle().Foreground(lipgloss.Cyan)
)

// title names what the screen asks, for the terminal's title.
func (m *screen) title() string {
	switch m.mode {
	case asking:
		return m.q.Title
	case repeating:
		return m.q.Title + ", once more"
	case choosing:
		return "change"
	}
	return "summary"
}

// lines returns at most as many lines as the terminal has. Where there is no room for
// everything, what was answered before goes first, then the notes.
func (m *screen) lines() []string {
	w := min(m.width, maxScreenWidth)
	form := strings.Split(strings.TrimRight(m.form.View(), "\n "), "\n")
	head, foot := m.head(w), m.foot(w)
	room := m.height - len(head) - len(foot) - len(form)
	if m.mode == summing {
		body := m.summary(w)
		return slices.Concat(head, m.scrolled(body, room, w), form, foot)
	}
	below := m.below(w)
	if len(below) > max(room, 0) {
		below = below[:max(room, 0)]
	}
	room -= len(below)
	before := m.before(w)
	if len(before) > room {
		before = nil
	}
	room -= len(before)
	return slices.Concat(head, before, form, below, make([]string, max(room, 0)), foot)
}

func (m *screen) head(w int) []string {
	place := "summary"
	switch m.mode {
	case asking, repeating:
		at, of := m.iv.session.Progress()
		place = fmt.Sprintf("%d of %d: %s", at, of, m.q.Section)
	case choosing:
		place = "change"
	}
	left := "regctl-setup init " + m.iv.where()
	gap := w - 1 - ansi.StringWidth(left) - ansi.StringWidth(place)
	if gap < 2 {
		left = ansi.Truncate(left, max(w-3-ansi.StringWidth(place), 0), "…")
		gap = w - 1 - ansi.StringWidth(left) - ansi.StringWidth(place)
	}
	return []string{styleHead.Render(left) + strings.Repeat(" ", max(gap, 1)) + styleDim.Render(place), ""}
}

func (m *screen) foot(w int) []string {
	keys := "enter: next   shift+tab: back   esc: leave, nothing is written"
	if m.mode == summing {
		keys = "enter: choose   shift+tab: back   pgup/pgdn: scroll   esc: leave"
	}
	if ansi.StringWidth(keys) >= w {
		keys = "enter next  shift+tab back  esc leave"
	}
	return []string{"", styleDim.Render(ansi.Truncate(keys, w-1, ""))}
}

// before lists what was answered in this section.
func (m *screen) before(w int) []string {
	if m.mode != asking && m.mode != repeating {
		return nil
	}
	list := m.iv.session.Answered(m.q.Section)
	if len(list) == 0 {
		return nil
	}
	return append(table2(list, w, styleDim), "")
}

// below says what is wrong with what stands there, and what the probes found.
func (m *screen) below(w int) []string {
	if m.mode == choosing {
		return nil
	}
	var out []string
	if err := m.problem(); err != nil {
		out = append(out, "")
		out = append(out, wrapped("✗ "+err.Error(), w, styleBad)...)
	}
	if m.mode == asking && notesBelong(m.q) {
		for i, n := range m.notes[m.iv.probeKey()] {
			if i == 0 {
				out = append(out, "")
			}
			style := styleDim
			switch {
			case strings.HasPrefix(n, "ok: "):
				n, style = "✓ "+strings.TrimPrefix(n, "ok: "), styleGood
			case strings.HasPrefix(n, "warning: "):
				n, style = "! "+strings.TrimPrefix(n, "warning: "), styleHeed
			}
			out = append(out, wrapped(n, w, style)...)
		}
	}
	return out
}

// problem is what is wrong with what stands there. An empty line is not complained about
// before somebody tries to go on.
func (m *screen) problem() error {
	if m.value == "" && !m.tried || m.mode == repeating && !m.tried {
		return nil
	}
	return m.check(m.value)
}

// summary is the text above the last choice.
func (m *screen) summary(w int) []string {
	out := table2(m.sum.lines, w, lipgloss.NewStyle())
	for i, p := range m.sum.problems {
		if i == 0 {
			out = append(out, "", styleBad.Render("This can't be written yet:"))
		}
		out = append(out, wrapped("✗ "+p, w, styleBad)...)
	}
	for i, n := range m.sum.warnings {
		if i == 0 {
			out = append(out, "")
		}
		out = append(out, wrapped("! "+n, w, styleHeed)...)
	}
	if m.sum.same {
		out = append(out, "", fmt.Sprintf("Nothing changes in %s.", m.iv.where()))
	}
	if len(m.sum.files) > 0 {
		out = append(out, "", fmt.Sprintf("Files in %s%s:", m.iv.where(), commonState(m.sum.files)))
		out = append(out, fileColumns(m.sum.files, w)...)
	}
	return append(out, "")
}

// commonState is what all the files have in common, with a comma before it; "" when they
// differ.
func commonState(files []plannedFile) string {
	for _, f := range files {
		if f.State != files[0].State {
			return ""
		}
	}
	return ", all " + files[0].State
}

// fileColumns lists the files, in two columns where they fit.
func fileColumns(files []plannedFile, w int) []string {
	cells := make([]string, len(files))
	widest := 0
	for i, f := range files {
		cells[i] = fmt.Sprintf("%04o %s", f.Mode.Perm(), f.Path)
		if commonState(files) == "" {
			cells[i] = fmt.Sprintf("%-9s %s", f.State, cells[i])
		}
		widest = max(widest, ansi.StringWidth(cells[i]))
	}
	columns := 1
	if 2*widest+4 < w {
		columns = 2
	}
	rows := (len(cells) + columns - 1) / columns
	out := make([]string, rows)
	for i, c := range cells {
		if i >= rows {
			out[i-rows] += strings.Repeat(" ", widest+2-ansi.StringWidth(cells[i-rows])) + c
			continue
		}
		out[i] = "  " + c
	}
	for i := range out {
		out[i] = ansi.Truncate(out[i], w-1, "…")
	}
	return out
}

// scrolled cuts the summary to the room that there is and says what is not seen.
func (m *screen) scrolled(body []string, room, w int) []string {
	if len(body) <= room {
		m.scroll = 0
		return append(body, make([]string, room-len(body))...)
	}
	shown := max(room-1, 1)
	m.scroll = max(0, min(m.scroll, len(body)-shown))
	more := fmt.Sprintf("– lines %d to %d of %d; pgup and pgdn show the others –", m.scroll+1, m.scroll+shown, len(body))
	return append(slices.Clone(body[m.scroll:m.scroll+shown]), styleDim.Render(ansi.Truncate(more, w-1, "")))
}

// table2 sets lines as a table of two columns.
func table2(list []wizard.Line, w int, style lipgloss.Style) []string {
	widest := 0
	for _, l := range list {
		widest = max(widest, ansi.StringWidth(l.Label))
	}
	var out []string
	for _, l := range list {
		for i, part := range strings.Split(ansi.Wrap(l.Value, max(w-widest-5, 10), ""), "\n") {
			label := ""
			if i == 0 {
				label = l.Label
			}
			out = append(out, style.Render("  "+label+strings.Repeat(" ", widest-ansi.StringWidth(label)+2)+part))
		}
	}
	return out
}

func wrapped(text string, w int, style lipgloss.Style) []string {
	var out []string
	for i, line := range strings.Split(ansi.Wrap(text, w-5, ""), "\n") {
		indent := "  "
		if i > 0 {
			indent = "    "
		}
		out = append(out, style.Render(indent+strings.TrimSpace(line)))
	}
	return out
}

// screenTheme uses the terminal's own sixteen colours, which its owner can read.
func screenTheme(dark bool) *huh.Styles {
	t := huh.ThemeBase(dark)
	t.Focused.Base = t.Focused.Base.BorderForeground(lipgloss.Cyan)
	t.Focused.Title = styleHead
	t.Focused.Description = lipgloss.NewStyle()
	t.Focused.SelectSelector = styleFirst.SetString("> ")
	t.Focused.SelectedOption = styleFirst
	t.Focused.TextInput.Prompt = styleFirst
	t.Focused.TextInput.Placeholder = styleDim
	t.Blurred = t.Focused
	return t
}

// screenKeys leaves huh only the keys that do something in a form of one field: esc leaves
// the wizard, and typing a letter does not open a filter.
func screenKeys() *huh.KeyMap {
	k := huh.NewDefaultKeyMap()
	off := key.NewBinding(key.WithDisabled())
	k.Quit = off
	k.Select.Filter, k.Select.SetFilter, k.Select.ClearFilter = off, off, off
	return k
}
